#!/usr/bin/env bash
# Unpacks a Vulkan implementation for processors, to run `--device wgpu` without a GPU.
#
#   scripts/software_vulkan.sh DIR        then: source DIR/env
#
# Takes SwiftShader and the Vulkan loader from Debian's packages chromium-common and libvulkan1, with apt-get; nothing is
# installed. It has no 16-bit floats, and runs about a hundred times slower than a GPU.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ -f "$folder/env" ] && exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
apt-cache show chromium-common >/dev/null 2>&1 || apt-get update --quiet
(cd "$scratch" && apt-get download --quiet chromium-common libvulkan1)
for package in "$scratch"/*.deb; do dpkg-deb --extract "$package" "$scratch/unpacked"; done
cp "$scratch/unpacked/usr/lib/chromium/libvk_swiftshader.so" "$folder"
cp --dereference "$scratch/unpacked/usr/lib/x86_64-linux-gnu/libvulkan.so.1" "$folder"
cat >"$folder/driver.json" <<JSON
{"file_format_version": "1.0.0", "ICD": {"library_path": "$folder/libvk_swiftshader.so", "api_version": "1.3.0"}}
JSON
cat >"$folder/env" <<ENV
export LD_LIBRARY_PATH=$folder\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} VK_DRIVER_FILES=$folder/driver.json VK_ICD_FILENAMES=$folder/driver.json
ENV
