#!/usr/bin/env bash
# Unpacks a Vulkan implementation for processors, to run `--device wgpu` without a GPU.
#
#   scripts/software_vulkan.sh DIR        then: source DIR/env
#
# Takes Mesa's lavapipe and the Vulkan loader from the packages mesa-vulkan-drivers and libvulkan1 of Debian or Ubuntu, with what
# they need and the system lacks, by apt-get; nothing is installed. It has 16-bit floats.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
grep -qs libvulkan_lvp "$folder/driver.json" && exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/debs/partial" "$scratch/unpacked/usr/lib" "$scratch/unpacked/lib"
apt-cache show mesa-vulkan-drivers >/dev/null 2>&1 || apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends --download-only \
    -o Dir::Cache::Archives="$scratch/debs" -o Debug::NoLocking=1 mesa-vulkan-drivers libvulkan1
for package in "$scratch"/debs/*.deb; do
    # If apt downloaded nothing, all packages are installed already.
    [ -f "$package" ] && dpkg-deb --extract "$package" "$scratch/unpacked"
done
find "$scratch/unpacked/usr/lib" "$scratch/unpacked/lib" -name '*.so*' ! -name 'libvulkan_[ir]*' ! -name 'libVk*' -exec cp --dereference {} "$folder" \;
driver=$({ find "$folder" /usr/lib -name libvulkan_lvp.so 2>/dev/null || true; } | head -n 1)
[ -n "$driver" ] || { echo "no libvulkan_lvp.so in the packages" >&2; exit 1; }
cat >"$folder/driver.json" <<JSON
{"file_format_version": "1.0.0", "ICD": {"library_path": "$driver", "api_version": "1.3.0"}}
JSON
cat >"$folder/env" <<ENV
export LD_LIBRARY_PATH=$folder\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} VK_DRIVER_FILES=$folder/driver.json VK_ICD_FILENAMES=$folder/driver.json
ENV
