#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The commands of the README work. Usage: readme_test.sh REPOSITORY BIN_DIR
source "$(dirname "${BASH_SOURCE[0]}")/../support/shell_test.sh"

"$repository/scripts/readme.sh"
