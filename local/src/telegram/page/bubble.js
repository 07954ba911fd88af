// One message, or the parts of one album, as an element. Knows nothing of the server.

/** Makes an element: properties, `class`, `data-*`/`aria-*` attributes and listeners (`onclick`), then children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role" || name === "dir") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const fileUrl = (file) => `/_local/files/${file.file_unique_id}`;

/** What a message holds, in a few words: for quotes. */
export function summary(message) {
  const words = message.text ?? message.caption;
  if (words) return words;
  if (message.photo) return "Photo";
  if (message.document) return message.document.file_name;
  return "Message";
}

const WRAPS = {
  bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre", blockquote: "blockquote",
};

function wrapped(entity, node, words, actions) {
  if (entity.type === "bot_command") {
    return make("button", { class: "command", type: "button", onclick: () => actions.say(words) }, node);
  }
  if (entity.type === "spoiler") return make("span", { class: "spoiler", tabIndex: 0 }, node);
  if (entity.type === "url" || entity.type === "text_link") {
    const url = entity.url ?? words;
    if (!/^https?:/.test(url)) return node;
    return make("a", { href: url, target: "_blank", rel: "noreferrer noopener" }, node);
  }
  return entity.type in WRAPS ? make(WRAPS[entity.type], {}, node) : node;
}

/** Text with entities, which may nest; offsets count UTF-16 code units, as JavaScript does. */
function styled(text, entities, actions) {
  const sorted = [...entities].sort((a, b) => a.offset - b.offset || b.length - a.length);
  const range = (from, to, inside) => {
    const nodes = [];
    let at = from;
    for (let index = 0; index < inside.length; index += 1) {
      const entity = inside[index];
      if (entity.offset < at) continue;
      const end = Math.min(entity.offset + entity.length, to);
      const within = inside.slice(index + 1).filter((inner) => inner.offset >= entity.offset && inner.offset + inner.length <= end);
      nodes.push(document.createTextNode(text.slice(at, entity.offset)));
      const body = document.createDocumentFragment();
      body.append(...range(entity.offset, end, within));
      nodes.push(wrapped(entity, body, text.slice(entity.offset, end), actions));
      at = end;
    }
    nodes.push(document.createTextNode(text.slice(at, to)));
    return nodes;
  };
  return range(0, text.length, sorted);
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

function photos(parts, actions) {
  const many = parts.length > 1;
  const kind = many ? `many${parts.length % 2 ? " odd" : ""}` : "one";
  const tiles = parts.map((part) => {
    const largest = part.photo.at(-1);
    const alt = part.caption ? `Photo: ${part.caption}` : `Photo, ${largest.width} by ${largest.height}`;
    const image = make("img", { src: fileUrl(largest), alt, width: largest.width, height: largest.height, draggable: false });
    const open = () => actions.view(image.src, image.alt);
    return make("button", { type: "button", onclick: open, "data-width": largest.width, "data-height": largest.height }, image);
  });
  return make("div", { class: `photos ${kind}` }, ...tiles);
}

function file(part) {
  const { document: sent } = part;
  const ending = sent.file_name.includes(".") ? sent.file_name.split(".").pop() : "file";
  const face = sent.thumbnail
    ? make("img", { src: fileUrl(sent.thumbnail), alt: "" })
    : make("span", { class: "sheet" }, ending.slice(0, 4).toUpperCase());
  const words = make("span", {}, make("b", {}, sent.file_name), make("span", {}, size(sent.file_size)));
  return make("a", { class: "file", href: fileUrl(sent), download: sent.file_name }, face, words);
}

function buttons(message, actions) {
  const rows = message.reply_markup?.inline_keyboard ?? [];
  if (rows.length === 0) return null;
  const button = (key) => {
    if (key.url && /^https?:/.test(key.url)) {
      return make("a", { href: key.url, target: "_blank", rel: "noreferrer noopener" }, `${key.text} ↗`);
    }
    const tap = (event) => actions.tap(message, key, event.currentTarget);
    return make("button", { type: "button", onclick: tap, "data-data": key.callback_data ?? "" }, key.text);
  };
  return make("div", { class: "buttons" }, ...rows.map((row) => make("div", { class: "row" }, ...row.map(button))));
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** The bubble of a message or album. `context` is `{ mine, answered, actions }`. */
export function bubble(parts, { mine, answered, actions }) {
  const newest = parts.at(-1);
  const titled = parts.find((part) => part.text ?? part.caption);
  const words = titled && (titled.text ?? titled.caption);
  const edited = parts.some((part) => part.edit_date);
  const meta = make("span", { class: "meta" }, `${edited ? "edited " : ""}${clock(newest.date)}`);
  const body = make("div", { class: "bubble" });
  if (answered) {
    const jump = () => actions.show(answered.message_id);
    const head = make("b", {}, answered.from.first_name);
    body.append(make("button", { class: "reply", type: "button", onclick: jump }, head, make("span", { dir: "auto" }, summary(answered))));
  }
  const shown = parts.filter((part) => part.photo);
  if (shown.length > 0) body.append(photos(shown, actions));
  body.append(...parts.filter((part) => part.document).map(file));
  const odd = ["sticker", "voice", "location", "migrate_to_chat_id", "migrate_from_chat_id"].find((kind) => kind in newest);
  if (odd) body.append(make("div", { class: "odd-kind" }, newest.sticker?.emoji ?? odd.replaceAll("_", " ")));
  if (words) {
    const entities = titled.entities ?? titled.caption_entities ?? [];
    body.append(make("p", { class: "text", dir: "auto" }, ...styled(words, entities, actions), meta));
  } else {
    if (shown.length > 0) meta.classList.add("over");
    body.append(shown.length > 0 ? meta : make("p", { class: "text" }, meta));
  }
  const reactions = parts.flatMap((part) => part.reactions ?? []);
  if (reactions.length > 0) body.append(make("span", { class: "reactions" }, make("span", {}, reactions.join(" "))));

  const acts = make("div", { class: "acts" }, make("button", { type: "button", onclick: () => actions.answer(titled ?? newest) }, "Reply"));
  if (mine && (newest.text || newest.photo || newest.document)) {
    acts.append(make("button", { type: "button", onclick: () => actions.edit(titled ?? parts[0]) }, "Edit"));
  }
  const kind = shown.length > 0 ? " photo" : "";
  const item = make("li", { class: `msg${mine ? " mine" : ""}${kind}`, tabIndex: -1, "data-id": parts[0].message_id, "data-edits": newest.edits });
  item.append(body, ...[buttons(newest, actions)].filter(Boolean), acts);
  return item;
}
