#!/usr/bin/env bash
# The images for real: built with buildah on a base made by debootstrap, looked at from the outside, and started from their own file
# systems as the user they name; and an instance's user data under the real cloud-init, in a root file system of its own.
#
# usage: test-images.sh [PROGRAMS]
#
# PROGRAMS is a folder of all programs, built already; without it they are built first, in release. FULL=1 builds those of the images in
# the Dockerfile's own first stage instead, on BUILDER. Needs root, buildah and debootstrap (packages of Debian and Ubuntu).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "this needs root: it makes root file systems"
for program in buildah debootstrap; do
  command -v "$program" >/dev/null || fail "$program is not here; apt-get install buildah debootstrap"
done

# Works where containers cannot be nested, and leaves what others have built alone.
work=$(mktemp -d -t polybot-images.XXXXXX)
export TOOL=buildah BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' "$work" "$work" >"$work/storage.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf
started=()
clean_up() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  buildah rm --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT
start() {
  local name=$1; shift
  "$@" >"$work/$name.out" 2>"$work/$name.log" &
  started+=($!)
}
# Waits until a line with this word is in what a background program has printed.
ready() {
  local tries=0
  until grep -qs "$2" "$work/$1.out" "$work/$1.log"; do
    tries=$((tries + 1))
    if [ $tries -gt 1200 ] || ! kill -0 "${started[-1]}" 2>/dev/null; then cat "$work/$1".*; fail "$1 did not start"; fi
    read -rt 0.1 <> <(:) || true
  done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

say "A base image, made by debootstrap"
# Of this machine's own release: programs that were built here want its C library, or a newer one.
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
mirror=http://deb.debian.org/debian
if (. /etc/os-release; [ "$ID" = ubuntu ]); then mirror=http://archive.ubuntu.com/ubuntu; fi
debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 \
  || { cat "$work/debootstrap.log"; fail "debootstrap"; }
base=$(buildah from scratch)
buildah add --quiet "$base" "$work/base" / >/dev/null
BASE=$(buildah commit --quiet --rm "$base" localhost/base)
export BASE

say "The images"
programs=${1:-}
if [ -z "$programs" ]; then
  cargo --config .cargo/release.toml build --release --locked --workspace --bins
  programs=${CARGO_TARGET_DIR:-target}/release
fi
if [ -z "${FULL:-}" ]; then
  mkdir -p "$work/built/programs"
  for program in polybot yolo5 controller; do strip -o "$work/built/programs/$program" "$programs/$program"; done
  export PROGRAMS=$work/built
fi
TARGETS="polybot yolo5 controller" VERSION=test local/images.sh >"$work/images.log" 2>&1 || { cat "$work/images.log"; fail "the build"; }

say "What they are"
for image in polybot yolo5 polybot-controller; do
  buildah inspect --type image "localhost/$image:test" | python3 -c '
import json, sys
image = sys.argv[1]
config = json.load(sys.stdin)["Docker"]["config"]
labels = config["Labels"]
assert config["User"] == "65532:65532", config["User"]
assert labels["org.opencontainers.image.version"] == "test" and labels["org.opencontainers.image.licenses"] == "MIT", labels
assert labels["org.opencontainers.image.title"] == image, labels
assert image == "polybot-controller" or config["Healthcheck"]["Test"][0] == "CMD", config
' "$image" || fail "$image is not what it should be"
  container=$(buildah from --pull-never "localhost/$image:test")
  root=$(buildah mount "$container")
  program=${image#polybot-}
  bytes=$(stat -c %s "$root/usr/local/bin/$program")
  echo "$image: $((bytes / 1000 / 1000)) MB on its base"
  added=$(comm -13 <(cd "$work/base" && find . -type f | sort) <(cd "$root" && find . -xdev -type f | sort))
  [ "$added" = "./usr/local/bin/$program" ] || fail "$image holds more than its program: $added"
  # Debug builds are larger; what is published is a release build.
  [ -n "${1:-}" ] || [ "$bytes" -le 40000000 ] || fail "$image is too large: at most 40 MB"
  eval "root_of_$program=$root"
done
# Runs a program from its image's own file system, as the image's user. Nothing outside of /tmp can be written there by it.
# shellcheck disable=SC2154
inside() {
  local program=$1; shift
  local root=root_of_$program
  HOME=/nonexistent chroot --userspec=65532:65532 "${!root}" "/usr/local/bin/$program" "$@"
}

say "The controller makes the stack of compose.yaml from its image; the bot serves from its own"
start aws "$programs/local-aws"
ready aws AWS_ENDPOINT_URL
set -a
# shellcheck disable=SC1091
. "$work/aws.out"
TELEGRAM_TOKEN=123456:local-telegram-token
set +a
start telegram "$programs/local-telegram" --listen 127.0.0.1:0 --token "$TELEGRAM_TOKEN"
ready telegram TELEGRAM_API_URL
# shellcheck disable=SC1091
. "$work/telegram.out"
# shellcheck disable=SC2154
spec=$root_of_controller/tmp/spec.yaml
sed "s|apiUrl: .*|apiUrl: $TELEGRAM_API_URL|" local/compose.yaml >"$spec"
chmod 644 "$spec"
inside controller apply -f /tmp/spec.yaml --yes --poll 1s
for service in polybot yolo5; do
  inside controller status -f /tmp/spec.yaml -o env --service "$service" >"$work/$service.env"
done
local/.venv/bin/python - "$work" <<'END'
import sys, yaml
services = yaml.safe_load(open("compose.yaml"))["services"]
endpoint = None
for name, service in (("bot-a", "polybot"), ("bot-b", "polybot"), ("detector", "yolo5")):
    said = services[name]["environment"]
    for line in open(f"{sys.argv[1]}/{service}.env"):
        key, _, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip("'\"")
        # Ports are free ones here.
        if "://" in value:
            value, said[key] = value.split("/", 3)[3:], said[key].split("/", 3)[3:]
        assert key == "CONFIDENCE" or said.get(key) == value, f"compose.yaml, {name}: {key} is {said.get(key)}, not {value}"
END
port=$(free_port)
set -a
# shellcheck disable=SC1091
. "$work/polybot.env"
set +a
export POLYBOT_LISTEN=127.0.0.1:$port
inside polybot --health 2>/dev/null && fail "nobody serves yet, and the health check says it does"
start polybot inside polybot
ready polybot "polybot serves"
curl -sf "http://127.0.0.1:$port/health"
inside polybot --health

say "The detector finds the cat from its image, with a model that is given to it"
model=$(yolo5/tools/model.sh)
# shellcheck disable=SC2154
install -m 644 "$model" yolo5/samples/chelsea.jpg "$root_of_yolo5/tmp/"
inside yolo5 detect "/tmp/chelsea.jpg" --model "/tmp/$(basename "$model")" | tee "$work/detected"
grep -q "cat            0.58" "$work/detected" || fail "no cat"

say "An instance's user data: the schema, and what the real cloud-init makes of it"
machine=$work/machine
debootstrap --variant=minbase --include=cloud-init,systemd,python3-cffi-backend bookworm "$machine" http://deb.debian.org/debian >"$work/debootstrap.log" 2>&1 \
  || { cat "$work/debootstrap.log"; fail "debootstrap"; }
mkdir -p "$machine/var/lib/cloud/seed/nocloud" "$machine/stand-ins"
local/.venv/bin/python - "$machine/var/lib/cloud/seed/nocloud" <<'END'
import base64, boto3, sys
ec2 = boto3.client("ec2", region_name="us-east-1")
template, = [t for t in ec2.describe_launch_templates()["LaunchTemplates"] if t["LaunchTemplateName"].endswith("yolo5")]
versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])["LaunchTemplateVersions"]
version = max(versions, key=lambda v: v["VersionNumber"])
text = base64.b64decode(version["LaunchTemplateData"]["UserData"])
print(f"{len(text)} bytes of user data")
assert len(text) < 16 * 1024
open(f"{sys.argv[1]}/user-data", "wb").write(text)
open(f"{sys.argv[1]}/meta-data", "w").write("instance-id: i-0123456789abcdef0\n")
END
# Only the modules that user data of ours needs: others would touch this machine's own name and network.
cat >"$machine/etc/cloud/cloud.cfg" <<'END'
datasource_list: [NoCloud]
network: { config: disabled }
cloud_init_modules: [write_files]
cloud_config_modules: [runcmd]
cloud_final_modules: [package_update_upgrade_install, scripts_user]
system_info: { distro: debian }
END
rm -f "$machine"/etc/cloud/cloud.cfg.d/*
for program in docker systemctl apt-get; do
  printf '#!/bin/sh\necho "%s $*" >>/calls\n' "$program" >"$machine/stand-ins/$program"
  chmod 755 "$machine/stand-ins/$program"
done
on_machine() { chroot "$machine" /usr/bin/env PATH=/stand-ins:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
install -d "$machine/proc" && cp /proc/meminfo "$machine/proc/meminfo"
on_machine cloud-init schema --config-file /var/lib/cloud/seed/nocloud/user-data
for stage in "init --local" init "modules --mode=config" "modules --mode=final"; do
  # shellcheck disable=SC2086
  on_machine cloud-init $stage >"$work/cloud-init.log" 2>&1 || { cat "$work/cloud-init.log"; fail "cloud-init $stage"; }
done
ln -sf /stand-ins/docker "$machine/usr/bin/docker"
on_machine systemd-analyze verify --man=no /etc/systemd/system/yolo5.service /etc/systemd/system/yolo5-health.timer 2>"$work/units.log" || true
grep -E "/etc/systemd/system/yolo5" "$work/units.log" && fail "systemd does not understand a unit"
on_machine sh -c "$(sed -n 's/^ExecStart=//p' "$machine/etc/systemd/system/yolo5.service")"
cat "$machine/calls"
for call in "apt-get .*update" "apt-get .*install .*docker.io" "apt-get .*amazon-ecr-credential-helper" "systemctl daemon-reload" \
  "systemctl enable --now yolo5.service yolo5-health.timer" "docker run .*--env-file /etc/yolo5.env .*localhost/yolo5:dev"; do
  grep -qE "^$call" "$machine/calls" || fail "the instance did not call: $call"
done
grep -q "^IDENTIFY_QUEUE_URL=" "$machine/etc/yolo5.env" || fail "no environment"

say "All is well"
