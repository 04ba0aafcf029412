"""`run` asks for the request's headers too."""


def init():
    pass


def run(data, request_headers):
    return {
        "data": data,
        "type": type(request_headers).__name__,
        "mine": request_headers.get("X-Mine"),
        "content": request_headers.get("Content-Type"),
    }
