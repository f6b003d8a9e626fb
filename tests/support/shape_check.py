"""The run-time check of types and shapes that every call of the package passes in the tests."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # where a float is asked for, an int will do
