#!/bin/sh
# Makes what a release consists of, in dist/: the packages, a list of the libraries in each
# program (an SBOM, CycloneDX in JSON), and SHA256SUMS of all of them. The same commit makes
# the same bytes. docs/RELEASE.md says what follows. The environment is that of build.sh.
set -eu
cd "$(dirname "$0")/.."

go=${GO:-go}
cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' pkg/awa/version.go)
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT

packaging/build.sh
rm -f dist/*.cdx.json dist/SHA256SUMS
for program in agent:awa-agent check:check_awa; do
	name=${program#*:}
	# The list is read out of the program itself, which has the same libraries on both architectures.
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOFLAGS='' $go build -trimpath -buildvcs=false -o "$programs/$name" ./"${program%:*}"
	GOFLAGS='' $go run -trimpath $cyclonedx bin -json -std -noserial -notimestamp -version "v$version" \
		-output "dist/$name-$version.cdx.json" "$programs/$name"
done
cd dist
LC_ALL=C sha256sum are-we-alive[-_]* ./*.cdx.json | sed 's|  \./|  |' >SHA256SUMS
cat SHA256SUMS
