"""Everything the tests share. First of all: shapes and types written in signatures are checked when the package runs."""

from jaxtyping import install_import_hook

install_import_hook("rnnscope", "beartype.beartype")
