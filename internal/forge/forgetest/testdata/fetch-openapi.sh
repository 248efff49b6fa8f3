#!/bin/sh
# Fetches GitHub's OpenAPI description of its REST API and puts it into a
# directory, as api.github.com.json. Needs npm. Tests look for it where the
# environment variable CORBEL_OPENAPI says.
#
# Usage: fetch-openapi.sh DIR
set -eu

version=23.0.2
sum=829b4bebb19a53133289f7b0bc819f4f1118115821db2ca9f25e9ee995a7da2a

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm pack --silent "@octokit/openapi@$version" >/dev/null
tar -xzf ./*.tgz package/generated/api.github.com.json
echo "$sum  package/generated/api.github.com.json" | sha256sum -c --quiet -
mv package/generated/api.github.com.json "$dir/"
