// The chat page: a phone for each person in the address (`?users=Ada,Bob`), alive through server-sent events.

import { bubble, make, summary } from "./bubble.js";

const viewer = document.getElementById("viewer");
viewer.addEventListener("click", () => viewer.close());
const notice = document.getElementById("alert");

const ACTIONS = { typing: "typing…", upload_photo: "sending a photo…", upload_document: "sending a file…" };
const isPicture = (file) => /^image\/(png|jpeg|webp|gif|bmp)$/.test(file.type);

async function request(method, path, body) {
  const json = body !== undefined && !(body instanceof FormData);
  const headers = json ? { "Content-Type": "application/json" } : {};
  const response = await fetch(`/_local/${path}`, { method, headers, body: json ? JSON.stringify(body) : body });
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(answer.error ?? answer.description ?? "this did not work");
  return answer;
}

class Phone {
  constructor(person) {
    this.person = person;
    this.messages = new Map();
    this.taps = new Map();
    this.files = [];
    this.answering = null;
    this.editing = null;
    this.commands = [];
    this.root = document.getElementById("phone").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.root.querySelector(selector);
    this.log = this.find(".log");
    this.box = this.find("textarea");
    this.root.setAttribute("aria-label", `The phone of ${person.name}`);
    this.root.dataset.user = person.id;
    this.find(".me .name").textContent = person.name;
    this.find(".me .face").textContent = person.name[0];
    this.find(".me .face").style.setProperty("--hue", (person.id * 67) % 360);
    this.actions = {
      say: (text) => this.try(() => request("POST", this.path("text"), { text })),
      view: (source, alt) => {
        Object.assign(viewer.firstElementChild, { src: source, alt });
        viewer.showModal();
      },
      tap: (message, key, button) => this.tap(message, key, button),
      show: (id) => this.show(id),
      answer: (message) => this.setContext({ answering: message }),
      edit: (message) => this.setContext({ editing: message }),
    };
    this.listen();
  }

  path(rest) {
    return `users/${this.person.id}/${rest}`;
  }

  async start() {
    await request("POST", "users", this.person);
    const events = new EventSource(`/_local/events?chat=${this.person.id}`);
    events.onopen = () => this.load();
    events.onmessage = (event) => this.take(JSON.parse(event.data));
    events.onerror = () => this.status("connecting…");
  }

  /** Everything anew: at the start, and after a broken connection. */
  async load() {
    // A stand-in that was restarted has forgotten everybody.
    await request("POST", "users", this.person);
    const chat = await request("GET", `users/${this.person.id}`);
    this.commands = chat.commands ?? [];
    this.bot = chat.bot;
    this.find("h1").textContent = chat.bot.first_name;
    this.find(".face.bot").textContent = chat.bot.first_name[0];
    this.status();
    this.log.replaceChildren();
    this.messages.clear();
    for (const message of chat.messages) this.put(message);
    this.tidy();
    this.log.scrollTop = this.log.scrollHeight;
    this.root.dataset.ready = "true";
  }

  take({ event, data }) {
    if (event === "message" || event === "edited") {
      const low = this.isLow();
      this.put(data);
      if (data.from.is_bot && event === "message") this.status();
      this.tidy();
      if (low || !data.from.is_bot) this.log.scrollTop = this.log.scrollHeight;
    } else if (event === "deleted") {
      const gone = this.messages.get(data.message_id);
      this.messages.delete(data.message_id);
      if (gone) this.draw(gone);
      this.tidy();
    } else if (event === "action") {
      this.status(ACTIONS[data.action] ?? "working…", 5000);
    } else if (event === "answer") {
      this.answered(data);
    } else if (event === "commands") {
      this.commands = data;
    } else if (event === "reload") {
      this.load();
    }
  }

  isLow() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 90;
  }

  status(words, milliseconds) {
    clearTimeout(this.calm);
    const line = this.find(".status");
    line.textContent = words ?? "bot";
    line.classList.toggle("busy", Boolean(words));
    if (milliseconds) this.calm = setTimeout(() => this.status(), milliseconds);
  }

  put(message) {
    this.messages.set(message.message_id, message);
    this.draw(message);
  }

  /** Draws the bubble that shows a message; the parts of an album share one. */
  draw(message) {
    const album = message.media_group_id;
    const fits = (other) => (album ? other.media_group_id === album : other.message_id === message.message_id);
    const parts = [...this.messages.values()].filter(fits).sort((a, b) => a.message_id - b.message_id);
    const key = album ? `album-${album}` : `message-${message.message_id}`;
    const old = this.log.querySelector(`[data-key="${key}"]`);
    if (parts.length === 0) {
      old?.remove();
      return;
    }
    const answered = this.messages.get(parts[0].reply_to);
    const fresh = bubble(parts, { mine: parts[0].from.id === this.person.id, answered, actions: this.actions });
    fresh.dataset.key = key;
    if (!old) {
      this.log.append(fresh);
      return;
    }
    const focused = old.contains(document.activeElement) ? document.activeElement.textContent : null;
    old.replaceWith(fresh);
    if (focused !== null) {
      // An edit replaces the keyboard: who was on a button stays on it, or on the message.
      const again = [...fresh.querySelectorAll("button")].find((button) => button.textContent === focused);
      (again ?? fresh).focus({ preventScroll: true });
    }
  }

  /** Spacing between turns, days, the empty note, the bot's own keyboard. */
  tidy() {
    this.log.querySelectorAll(".day").forEach((day) => day.remove());
    let [side, date, before] = [null, null, null];
    for (const item of [...this.log.children]) {
      const message = this.messages.get(Number(item.dataset.id));
      const mine = item.classList.contains("mine");
      const day = new Date(message.date * 1000).toDateString();
      if (day !== date) {
        const words = day === new Date().toDateString() ? "Today" : day;
        item.before(make("li", { class: "day" }, words));
      }
      item.classList.toggle("turn", mine !== side);
      before?.classList.toggle("last", mine !== side);
      item.classList.add("last");
      [side, date, before] = [mine, day, item];
    }
    this.find(".empty").hidden = this.messages.size > 0;
    const newest = [...this.messages.values()].filter((message) => message.keyboard).at(-1);
    const rows = newest?.keyboard.keyboard ?? [];
    const label = (key) => key.text ?? key;
    const button = (key) => make("button", { type: "button", onclick: () => this.actions.say(label(key)) }, label(key));
    this.find(".keys").replaceChildren(...rows.map((row) => make("div", { class: "row" }, ...row.map(button))));
    this.find(".keys").hidden = rows.length === 0;
  }

  show(id) {
    const message = this.messages.get(id);
    const key = message?.media_group_id ? `album-${message.media_group_id}` : `message-${id}`;
    const item = this.log.querySelector(`[data-key="${key}"]`);
    item?.scrollIntoView({ block: "center" });
    item?.classList.add("flash");
    setTimeout(() => item?.classList.remove("flash"), 900);
  }

  async tap(message, key, button) {
    button.setAttribute("aria-busy", "true");
    await this.try(async () => {
      const { tap } = await request("POST", this.path("tap"), { message: message.message_id, button: key.callback_data ?? key.text });
      const early = this.early?.get(tap);
      if (early) this.finish(button, early);
      else this.taps.set(tap, button);
    }, () => button.removeAttribute("aria-busy"));
  }

  /** The bot's answer to a tap may be here before the tap's own number is. */
  answered(answer) {
    const button = this.taps.get(answer.tap);
    this.taps.delete(answer.tap);
    if (button) this.finish(button, answer);
    else (this.early ??= new Map()).set(answer.tap, answer);
  }

  finish(button, { text, alert }) {
    button.removeAttribute("aria-busy");
    if (text && alert) {
      notice.querySelector("p").textContent = text;
      notice.showModal();
    } else if (text) {
      this.toast(text);
    }
  }

  toast(words) {
    const toast = this.find(".toast");
    toast.textContent = words;
    toast.hidden = false;
    clearTimeout(this.untoast);
    this.untoast = setTimeout(() => (toast.hidden = true), 3500);
  }

  async try(work, otherwise = () => {}) {
    try {
      return await work();
    } catch (error) {
      otherwise();
      this.toast(error.message);
      return null;
    }
  }

  /** What the line above the composer says: an answer to a message, or a change of one. */
  setContext({ answering = null, editing = null }) {
    if (editing || this.editing) this.box.value = editing ? (editing.text ?? editing.caption ?? "") : "";
    [this.answering, this.editing] = [answering, editing];
    const message = answering ?? editing;
    this.find(".context").hidden = !message;
    if (message) {
      const head = make("b", {}, editing ? "Edit message" : `Reply to ${message.from.first_name}`);
      this.find(".quote").replaceChildren(head, make("span", { dir: "auto" }, summary(message)));
    }
    this.grow();
    this.box.focus();
  }

  attach(files, asFiles) {
    const all = [...this.files, ...files];
    if (all.length > 10) this.toast("An album has at most ten parts.");
    this.files = all.slice(0, 10);
    if (asFiles !== undefined || !this.files.every(isPicture)) {
      this.find(".asfile input").checked = asFiles === true || !this.files.every(isPicture);
    }
    this.drawTray();
    this.box.focus();
  }

  drawTray() {
    this.find(".tray").hidden = this.files.length === 0;
    this.find(".asfile input").disabled = !this.files.every(isPicture);
    this.box.placeholder = this.files.length > 0 ? "Caption" : "Message";
    const thumb = (file) => {
      const drop = () => {
        this.files = this.files.filter((other) => other !== file);
        this.drawTray();
      };
      const face = isPicture(file) ? make("img", { src: URL.createObjectURL(file), alt: file.name }) : make("i", {}, file.name);
      return make("div", { class: "thumb" }, face, make("button", { type: "button", onclick: drop, "aria-label": `Remove ${file.name}` }, "✕"));
    };
    this.find(".thumbs").querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    this.find(".thumbs").replaceChildren(...this.files.map(thumb));
  }

  async send() {
    const text = this.box.value.trim();
    const [{ files }, reply] = [this, this.answering?.message_id];
    const sent = await this.try(async () => {
      if (this.editing) return request("POST", this.path("edit"), { message: this.editing.message_id, text });
      if (files.length === 0) return text ? request("POST", this.path("text"), { text, reply_to: reply ?? null }) : null;
      const form = new FormData();
      form.set("caption", text);
      if (reply) form.set("reply_to", reply);
      for (const file of files) form.append("file", file, file.name);
      return request("POST", this.path(this.find(".asfile input").checked ? "documents" : "photos"), form);
    });
    if (!sent) return;
    this.files = [];
    this.find(".asfile input").checked = false;
    this.drawTray();
    this.box.value = "";
    this.setContext({});
  }

  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
    const typed = /^\/[a-z0-9_]*$/.test(this.box.value) ? this.box.value.slice(1) : null;
    const fits = typed === null ? [] : this.commands.filter((command) => command.command.startsWith(typed));
    const choose = (command) => {
      this.box.value = "";
      this.grow();
      this.actions.say(`/${command.command}`);
      this.box.focus();
    };
    const option = (command, index) =>
      make("button", { type: "button", role: "option", onclick: () => choose(command), "aria-selected": String(index === 0) },
        `/${command.command}`, make("span", {}, command.description));
    this.find(".suggest").replaceChildren(...fits.map(option));
    this.find(".suggest").hidden = fits.length === 0;
  }

  /** Arrow keys, Enter and Tab within the list of commands; whether the key was for it. */
  choose(key) {
    const options = [...this.find(".suggest").children];
    const at = options.findIndex((option) => option.ariaSelected === "true");
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (options.length === 0) return false;
    if (step) {
      const next = (at + step + options.length) % options.length;
      options.forEach((option, index) => (option.ariaSelected = String(index === next)));
      options[next].scrollIntoView({ block: "nearest" });
    } else if (key === "Enter" || key === "Tab") {
      options[at].click();
    } else {
      return false;
    }
    return true;
  }

  listen() {
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.box.addEventListener("input", () => this.grow());
    this.box.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      const own = [...this.messages.values()].filter((message) => message.from.id === this.person.id).at(-1);
      if (this.choose(event.key)) {
        event.preventDefault();
      } else if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        this.send();
      } else if (event.key === "ArrowUp" && this.box.value === "" && own) {
        event.preventDefault();
        this.setContext({ editing: own });
      } else if (event.key === "Escape") {
        this.setContext({});
      }
    });
    this.box.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length > 0) this.attach(event.clipboardData.files);
    });
    this.find(".cancel").addEventListener("click", () => this.setContext({}));
    const input = this.find(".attach input");
    input.addEventListener("change", () => {
      this.attach(input.files);
      input.value = "";
    });
    this.find(".down").addEventListener("click", () => (this.log.scrollTop = this.log.scrollHeight));
    this.log.addEventListener("scroll", () => (this.find(".down").hidden = this.isLow()), { passive: true });
    // Pictures get their height from their attributes, but a long caption may still push: stay at the end.
    new ResizeObserver(() => this.isLow() && (this.log.scrollTop = this.log.scrollHeight)).observe(this.log);
    this.listenForDrops();
  }

  listenForDrops() {
    const drops = this.find(".drops");
    const hide = () => {
      drops.hidden = true;
      drops.querySelectorAll(".over").forEach((drop) => drop.classList.remove("over"));
    };
    this.root.addEventListener("dragenter", (event) => {
      if (event.dataTransfer.types.includes("Files")) drops.hidden = false;
    });
    this.root.addEventListener("dragleave", (event) => {
      if (!this.root.contains(event.relatedTarget)) hide();
    });
    this.root.addEventListener("dragover", (event) => {
      event.preventDefault();
      drops.querySelectorAll(".drop").forEach((drop) => drop.classList.toggle("over", drop === event.target));
    });
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      hide();
      this.attach(event.dataTransfer.files, event.target.dataset?.as === "documents");
    });
  }
}

/** `?users=Ada,Bob:202` names the people; without a number they get 101, 102… */
function people() {
  const names = (new URLSearchParams(location.search).get("users") ?? "Ada,Bob").split(",").filter(Boolean);
  return names.map((entry, index) => {
    const [name, id] = entry.split(":");
    return { id: Number(id) || 101 + index, name: name.trim() || `User ${index + 1}` };
  });
}

const phones = people().map((person) => new Phone(person));
document.getElementById("phones").append(...phones.map((phone) => phone.root));
await Promise.all(phones.map((phone) => phone.start()));
phones[0]?.box.focus();
