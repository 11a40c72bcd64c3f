#!/bin/sh
# dciodvfy, by which the tests validate every DICOM object that they write. They run without it, and say so.
command -v dciodvfy >/dev/null && exit 0
if command -v apt-get >/dev/null; then
  if [ "$(id -u)" = 0 ]; then
    run=
  elif sudo -n true 2>/dev/null; then
    run=sudo
  else
    run=none
  fi
  if [ "$run" != none ]; then
    { $run apt-get update -qq && $run apt-get install -y -qq --no-install-recommends dicom3tools; } >/dev/null 2>&1
  fi
fi
command -v dciodvfy >/dev/null ||
  echo "DICOM objects are not validated: dciodvfy is missing (Debian, Ubuntu: 'sudo apt-get install dicom3tools')" >&2
exit 0
