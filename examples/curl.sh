#!/bin/sh
# The API with curl alone: sh examples/curl.sh [base URL]
set -eu
url=${1:-http://127.0.0.1:8000/v1}

echo "models:"
curl -sS --fail-with-body "$url/models" | head -c 300
echo

echo "a picture, as the base64 of a PNG:"
curl -sS --fail-with-body "$url/images/generations" -H 'content-type: application/json' \
  -d '{"prompt": "a blue heart on white", "seed": 5, "steps": 15, "size": "256x256"}' | head -c 300
echo

echo "a mistake, and what the server says about it:"
curl -sS "$url/images/generations" -H 'content-type: application/json' \
  -d '{"prompt": "a blue heart on white", "sampler": "eular"}'
echo
