#!/bin/sh
# Fetches the examples of GitHub's webhook deliveries that octokit publishes and
# puts them into a directory, a file for github.com and for each version of
# GitHub Enterprise Server. Needs npm. Tests look for the directory where the
# environment variable CORBEL_WEBHOOK_EXAMPLES says.
#
# Usage: fetch-webhook-examples.sh DIR
set -eu

version=7.6.1
sum=89e6cb1c6345d32e3dd775617fa54effbdc26c859e514898d7728e95e9738280

[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm pack --silent "@octokit/webhooks-examples@$version" >/dev/null
echo "$sum  octokit-webhooks-examples-$version.tgz" | sha256sum -c --quiet -
tar -xzf ./*.tgz
for list in package/ghes-*/index.json package/api.github.com/index.json; do # make looks for the last
	mv "$list" "$dir/$(basename "$(dirname "$list")").json"
done
