#!/bin/sh
# Installs, from npm, what judges the agents' page: axe-core (is it accessible) and vnu-jar (is it
# valid HTML), for `make system-test`. They go to a folder of the user's cache, whose path is
# printed; nothing is run but the tests.
set -eu

folder="${XDG_CACHE_HOME:-$HOME/.cache}/are-we-alive/npm"
packages="axe-core@4.14.1 vnu-jar@26.9.27"

if [ "$(cat "$folder/packages" 2>/dev/null)" = "$packages" ]; then
	echo "== All that is needed from npm is in $folder: $packages"
	exit 0
fi
if ! command -v npm >/dev/null; then
	"$(dirname "$0")/install-debian.sh" npm
fi
echo "== Installing from npm, in $folder: $packages"
mkdir -p "$folder"
# shellcheck disable=SC2086 # a list of packages
npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --no-save --loglevel error $packages
echo "$packages" >"$folder/packages"
