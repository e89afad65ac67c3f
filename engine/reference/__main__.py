"""`python -m engine.reference`: write every generated page of docs/ anew, and take away those that nothing makes any more."""

from engine.reference.pages import write

if __name__ == "__main__":
    for path in write():
        print(path)
