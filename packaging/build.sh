#!/bin/sh
# Makes a .deb and an .rpm for each architecture in dist/. The same commit makes
# the same bytes, wherever it is built.
#
#   PACKAGE_VERSION     that of the source by default; outside of a release tag
#                       with ~git, the time and the commit behind it, which
#                       counts as older than the release
#   PACKAGE_MAINTAINER  who answers for the packages: NAME <ADDRESS>
#   PACKAGE_ARCHS       amd64 arm64
set -eu
cd "$(dirname "$0")/.."
umask 022

go=${GO:-go}
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
build=dist/build
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
export LC_ALL=C TZ=UTC

# version gives the packages' version.
version() {
	source=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' pkg/awa/version.go)
	[ -n "$source" ] || { echo "pkg/awa/version.go names no version" >&2; exit 1; }
	changed=""
	[ -z "$(git status --porcelain --untracked-files=no)" ] || changed=.changed
	if [ -z "$changed" ] && [ "$(git describe --tags --exact-match 2>/dev/null)" = "v$source" ]; then
		echo "$source"
	else
		echo "$source~git$(date -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$(git rev-parse --short=7 HEAD)$changed"
	fi
}

# licences prints those of all libraries in the programs.
licences() {
	echo "The programs of are-we-alive hold code of these libraries, under these licences."
	$go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./agent ./check | sort -u |
		while read -r module at dir; do
			[ -n "$module" ] || continue
			found=""
			for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
				[ -f "$file" ] || continue
				found=yes
				printf '\n======== %s %s: %s\n\n' "$module" "$at" "${file##*/}"
				cat "$file"
			done
			[ -n "$found" ] || { echo "$module has no licence file" >&2; exit 1; }
		done
}

# documents lays out the man pages, the completions and
# /usr/share/doc/are-we-alive.
documents() {
	mkdir -p $build/doc/examples $build/man
	cp -r packaging/completions $build/
	for page in packaging/man/*; do
		gzip -9nc "$page" >"$build/man/${page##*/}.gz"
	done
	cp README.md $build/doc/
	gzip -9nc CHANGELOG.md >$build/doc/changelog.gz
	licences >$build/licences.txt # not in a pipe, which would hide its failure
	gzip -9nc $build/licences.txt >$build/doc/third-party-licences.gz
	for folder in nagios icinga2 nrpe telegraf prometheus grafana checkmk ansible; do
		[ ! -d packaging/$folder ] || cp -r packaging/$folder $build/doc/examples/
	done
	cp docs/INFLUXQL.md $build/doc/examples/telegraf/
	cp packaging/cluster_info.json.example $build/doc/examples/cluster_info.json
	chmod -R u=rwX,go=rX $build # whatever the modes of the checkout are
	cat >$build/changelog.yaml <<-EOF
	- semver: "$PACKAGE_VERSION-1"
	  date: $(date -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
	  packager: $PACKAGE_MAINTAINER
	  deb: { urgency: medium, distributions: [stable] }
	  changes:
	    - note: "New version; what it changes stands in changelog.gz beside this file."
	EOF
}

PACKAGE_VERSION=${PACKAGE_VERSION:-$(version)}
PACKAGE_MAINTAINER=${PACKAGE_MAINTAINER:-are-we-alive maintainers <maintainers@are-we-alive.example>}
export PACKAGE_VERSION PACKAGE_MAINTAINER
rm -rf $build dist/are-we-alive[-_]*
mkdir -p $build
documents
for PACKAGE_ARCH in ${PACKAGE_ARCHS:-amd64 arm64}; do
	export PACKAGE_ARCH
	for program in agent:awa-agent check:check_awa; do
		CGO_ENABLED=0 GOOS=linux GOARCH=$PACKAGE_ARCH GOFLAGS='' $go build -trimpath -buildvcs=false \
			-ldflags '-s -w -buildid=' -o $build/bin/"${program#*:}" ./"${program%:*}"
	done
	for kind in deb rpm; do
		$go run $nfpm package --config nfpm.yaml --packager $kind --target dist/
	done
done
rm -rf $build
