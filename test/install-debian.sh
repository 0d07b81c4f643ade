#!/bin/sh
# Installs, from Debian, what our programs are run against: by `make
# system-test` ruby and ruby-sqlite3 (a client of the original program's kind),
# libmonitoring-plugin-perl (another reader of ranges and perfdata), shells
# (completions), groff, man-db and mandoc (man pages), jq, curl and msmtp (handlers), haproxy
# (health checks), chromium with a font, w3m and a Java runtime (the page: two browsers and a
# checker of HTML), tmux with procps (check_awa --watch, and watch) and the monitoring
# systems that run check_awa, each under its package's name; by `make bench`
# monitoring-plugins-basic (check_http, check_awa's yardstick) and fping (that of long lists).
# `make fault-test` and `make package-test` name theirs as arguments.
#
# No service is started: the tests start their own.
set -eu

packages="${*:-
	bash
	chromium
	curl
	default-jre-headless
	fish
	fonts-dejavu-core
	fping
	groff
	haproxy
	icinga2-bin
	influxdb
	iproute2
	jq
	libmonitoring-plugin-perl
	man-db
	mandoc
	monitoring-plugins-basic
	msmtp
	nagios-nrpe-plugin
	nagios-nrpe-server
	nagios4-core
	procps
	prometheus
	prometheus-alertmanager
	ruby
	ruby-sqlite3
	tmux
	w3m
	zsh
}"

missing=""
for package in $packages; do
	if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed"; then
		missing="$missing $package"
	fi
done
if [ -z "$missing" ]; then
	# shellcheck disable=SC2086 # a list of packages, here on one line
	echo "== All that is needed from Debian is installed:" $packages
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "== NOT INSTALLED:$missing. This is not a Debian: install them by hand." >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "== NOT INSTALLED:$missing. That takes root: run  sudo test/install-debian.sh$missing" >&2
	exit 1
fi
echo "== Installing from Debian, on this machine:$missing"
# What a package asks before it starts its service; 101 says no (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
echo "== Installed:$missing"
