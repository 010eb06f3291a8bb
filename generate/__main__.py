"""Write every generated page and block anew; pages of rules that are gone go too."""

from generate.pages import DETECTIONS, INDEX, ROOT, pages


def main() -> None:
    """Write what changed, and name it."""
    wanted = pages()
    for path in {*DETECTIONS.glob("*.md")} - {*wanted, INDEX}:
        path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(ROOT))  # noqa: T201 - a command line prints


if __name__ == "__main__":
    main()
