#!/usr/bin/env bash
# Copies the jars of Apache Kafka into .kafka/libs, once per change of pom.xml. Needs Maven and Java 17.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
stamp="$root/.kafka/$(sha256sum pom.xml | cut -c1-16)"
[ -e "$stamp" ] && exit 0
mkdir -p "$root/.kafka"
rm -rf "$root/.kafka/libs"
mvn -q -B -f pom.xml dependency:copy-dependencies "-DoutputDirectory=$root/.kafka/libs"
touch "$stamp"
