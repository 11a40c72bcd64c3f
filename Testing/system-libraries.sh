#!/bin/sh
# Qt, with which Testing/widget draws the panel, links to libraries that a bare Debian or Ubuntu lacks.
[ "$(uname -s)" = Linux ] || exit 0
known=$( (ldconfig -p || /sbin/ldconfig -p) 2>/dev/null)
missing=
for library in libEGL.so.1 libGL.so.1 libxkbcommon.so.0 libdbus-1.so.3 libfontconfig.so.1; do
  case "$known" in *"$library"*) ;; *) missing="$missing $library" ;; esac
done
[ -n "$missing" ] || exit 0
packages="libegl1 libgl1 libxkbcommon0 libdbus-1-3 libglib2.0-0 fontconfig fonts-dejavu-core"
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages && exit 0
  elif sudo -n true 2>/dev/null; then
    sudo apt-get update -qq && sudo apt-get install -y -qq --no-install-recommends $packages && exit 0
  fi
  echo "Testing/widget needs$missing: run 'sudo apt-get install $packages', then 'make test' again" >&2
else
  echo "Testing/widget needs$missing: install them with your system's package manager, then 'make test' again" >&2
fi
exit 1
