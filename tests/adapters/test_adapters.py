"""What an adapter itself must do; what the operations do is not told here."""

from __future__ import annotations

from plugreg.api import Actor

SUPERUSER = Actor(1, is_superuser=True)


class TestBasics:
    def test_list(self, client):
        answer = client("GET", "/api/plugins/", SUPERUSER, query={"limit": 1, "x": "é"})
        print(answer)
        assert answer.status == 200
        for m, p in [
            ("GET", "/api/plugins"),
            ("HEAD", "/api/plugins/"),
            ("POST", "/api/plugins/"),
            ("GET", "/api/plugins/tea"),
            ("GET", "/api/plugins//tea/"),
            ("FOO", "/api/plugins/tea/"),
            ("GET", "/api/plugins/tea/%0A"),
            ("GET", "/api/plugins/%0A"),
            ("OPTIONS", "/api/plugins/tea/"),
            ("GET", "/api/plugins/a%2Fb/"),
            ("GET", "/api/plugins/%FF/"),
            ("GET", "/static/plugins/tea/x.js"),
            ("GET", "/static/plugins/tea/../x.js"),
            ("DELETE", "/api/plugins/tea/"),
            ("TRACE", "/api/plugins/tea/"),
        ]:
            print(m, p, client(m, p, SUPERUSER))
        for m in ("PUT", "PATCH"):
            for how in (
                {"json": {"value": 3}},
                {"form": {"value": 4}},
                {"multipart": {"value": "5"}},
                {"content": b"x"},
                {"content": b"{", "headers": {"Content-Type": "application/json"}},
            ):
                print(m, how, client(m, "/api/plugins/tea/settings/cups/", SUPERUSER, **how))
