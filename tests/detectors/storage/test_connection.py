"""How storage is reached: nothing that is printed holds a key."""

from detectors.storage.connection import StorageConnection


def test_a_connection_never_shows_its_key() -> None:
    """Settings are printed whole."""
    assert "a2V5" not in repr(StorageConnection(connection_string="AccountName=store;AccountKey=a2V5"))
