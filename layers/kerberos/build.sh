#!/usr/bin/env bash
# Build the optional Kerberos layer: kerberos-layer.zip, to publish and to name in cdk.json as kerberos_layer_arn.
#
# Run it where the functions run: Amazon Linux 2023, their processor, their Python (a container or a small instance), after
#   dnf install -y python3.14 python3.14-devel python3.14-pip krb5-devel gcc zip
# It compiles, because there are no wheels of gssapi for Linux, and packs MIT's libraries, which Lambda's image may lack.
set -euo pipefail
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3.14}
OUT=${1:-kerberos-layer.zip}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
# requests itself is in the dependency layer.
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --target "$build/python" --requirement requirements.txt
mkdir "$build/lib"
module=$(find "$build/python/gssapi" -name 'creds.*.so' | head -1)
ldd "$module" | awk '/libgssapi_krb5|libkrb5|libk5crypto|libcom_err|libkeyutils/ {print $3}' | xargs -I{} cp -L {} "$build/lib/"
rm -rf "$build/python/bin"
(cd "$build" && zip -qr layer.zip python lib)
mv "$build/layer.zip" "$OUT"
echo "$OUT: $(du -h "$OUT" | cut -f1); publish it with: aws lambda publish-layer-version --layer-name flink-kerberos --zip-file fileb://$OUT"
