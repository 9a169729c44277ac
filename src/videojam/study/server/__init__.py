"""The study as a web page: FastAPI, on the loopback interface unless told otherwise."""
