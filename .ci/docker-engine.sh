#!/usr/bin/env bash
# What the container tests need: a Docker engine, a registry on loopback and a base image that no public registry has to
# be asked for; and an sshd, behind which an engine is reached as on another machine. Made once, found again afterwards.
# Debian only, as root.
set -euo pipefail
folder=/var/tmp/reconciler-containers
image=python:3.11-slim
registry=127.0.0.1:5000
mkdir -p "$folder"

until_ok() { # seconds, command …
  local left=$(($1 * 4))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((left-- == 0)); then
      echo "waited in vain for: $*" >&2
      tail -n 20 "$folder"/*.log >&2 || true
      return 1
    fi
    sleep 0.25
  done
}

packages=()
for pair in dockerd:docker.io iptables:iptables ip:iproute2 docker-registry:docker-registry debootstrap:debootstrap \
  curl:curl sshd:openssh-server; do
  command -v "${pair%%:*}" >/dev/null || packages+=("${pair#*:}")
done
if ((${#packages[@]})); then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$folder/apt.out"
fi

if ! docker info >/dev/null 2>&1; then
  # An engine that was killed leaves the numbers of its processes, which by now may be those of others: it would not start.
  for pair in docker.pid:dockerd docker/containerd/containerd.pid:containerd; do
    file=/var/run/${pair%%:*}
    if [[ -f $file && $(cat "/proc/$(cat "$file")/comm" 2>/dev/null) != "${pair#*:}" ]]; then rm -f "$file"; fi
  done
  setsid dockerd >"$folder/dockerd.log" 2>&1 </dev/null &
  until_ok 60 docker info
fi

if ! curl -fsS "http://$registry/v2/" >/dev/null 2>&1; then
  printf '%s\n' 'version: 0.1' "storage: {filesystem: {rootdirectory: $folder/registry}, delete: {enabled: true}}" \
    "http: {addr: $registry}" >"$folder/registry.yml"
  setsid docker-registry serve "$folder/registry.yml" >"$folder/registry.log" 2>&1 </dev/null &
  until_ok 30 curl -fsS "http://$registry/v2/"
fi

if ! docker image inspect "$image" >/dev/null 2>&1; then
  system=$(mktemp -d -p "$folder")
  debootstrap --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates bookworm "$system" \
    >"$folder/debootstrap.log"
  # A company's own certificates are the machine's to know; packages are fetched while images are built.
  cp /etc/ssl/certs/ca-certificates.crt "$system/etc/ssl/certs/ca-certificates.crt"
  tar --create --directory "$system" --exclude=./var/lib/apt/lists/* --exclude=./var/cache/apt/archives/*.deb . |
    docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - "$image" >/dev/null
  rm -rf "$system"
fi
docker tag "$image" "$registry/$image"
docker push --quiet "$registry/$image" >/dev/null
docker version --format 'container engine {{.Server.Version}}'
