"""Chats with a roomcast server through a Python WebSocket library.

    python3 tests/interop/checks.py LIBRARY ws://127.0.0.1:8080 [--stop PID]

LIBRARY is websockets or websocket-client. The server needs --raw and --echo, and to be a new one each time. With --stop,
only this is checked: that a client may be idle for several heartbeats (so let --heartbeat-ms be short), and what it is
told when the process gets SIGTERM.
"""

import argparse
import json
import os
import signal
import time
import traceback

from peers import PATIENCE_S, PEERS, Closed, Refused


class Chat:
    """A chat connection. Events of a kind not asked for wait until they are."""

    def __init__(self, peer):
        self.peer = peer
        self.waiting = []
        self.welcome = self.event("welcome")
        self.user = self.welcome["user"]

    def say(self, **command):
        self.peer.send(json.dumps(command))

    def event(self, kind):
        for at, event in enumerate(self.waiting):
            if event["type"] == kind:
                return self.waiting.pop(at)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            event = json.loads(self.peer.recv())
            if event["type"] == kind:
                return event
            self.waiting.append(event)
        raise TimeoutError(f"no {kind} came, only {self.waiting}")

    def join(self, room, **fields):
        self.say(type="join", room_id=room, **fields)
        return self.event("joined")

    def settled(self):
        """Waits until all that was sent so far was answered, and gives the events that wait then."""
        self.say(type="heartbeat")
        self.event("heartbeat")
        waiting, self.waiting = self.waiting, []
        return waiting


class Server:
    def __init__(self, library, url):
        self.library = library
        self.url = url

    def connect(self, path, **options):
        return self.library(self.url + path, **options)

    def chat(self, query=""):
        return Chat(self.connect("/ws" + query, subprotocols=["roomcast.v1"]))


def a_room_is_in_one_order_for_everyone(server):
    members = [server.chat(f"?user={name}-of-order&room=order") for name in ("ada", "bob", "cleo")]
    for member in members:
        assert member.event("joined")["room_id"] == "order"
    for number in range(60):
        members[number % 3].say(type="message", room_id="order", content={"number": number}, id=str(number))
    seen = [[member.event("message") for _ in range(60)] for member in members]
    assert [event["seq_id"] for event in seen[0]] == list(range(1, 61)), seen[0]
    assert sorted(event["content"]["number"] for event in seen[0]) == list(range(60))
    for member, events in zip(members, seen):
        assert events == seen[0], f"{member.user} saw another order"
        acks = [member.event("ack") for _ in range(20)]
        places = {event["id"]: event["seq_id"] for event in seen[0]}
        assert all(places[ack["id"]] == ack["seq_id"] for ack in acks), acks


def content_comes_out_as_it_went_in(server):
    ada, bob = server.chat("?room=content"), server.chat("?room=content")
    bob.event("joined")
    for content in ('{"b":1 , "a":[ ] }', "1e400", "-0.00", '"\\u00e4 ä 😀 \\n"', "null", "[1,\n2]"):
        ada.peer.send('{"type":"message","room_id":"content","content":' + content + "}")
        text = ""
        while '"type":"message"' not in text:
            text = bob.peer.recv()
        assert '"content":' + content in text, text


def a_private_message_waits_for_its_reader(server):
    bob = server.chat("?user=bob-away")
    session = bob.welcome["session"]
    bob.peer.close()
    ada = server.chat("?user=ada-writes")
    also_ada = server.chat(f"?user=ada-writes&session={ada.welcome['session']}")
    ada.say(type="message", to="bob-away", content="are you there?", id="1")
    ack = ada.event("ack")
    assert (ack["to"], ack["seq_id"], ack["id"]) == ("bob-away", 1, "1"), ack
    assert also_ada.event("message")["content"] == "are you there?"
    bob = server.chat(f"?user=bob-away&session={session}")
    message = bob.event("message")
    assert message["sender"] == "ada-writes" and message["content"] == "are you there?", message
    bob.say(type="message", to="ada-writes", content="now I am")
    assert ada.event("message")["content"] == "now I am"
    ada.say(type="message", to="nobody-at-all", content="?")
    assert ada.event("error")["code"] == "unknown_user"


def a_member_comes_back_to_where_it_was(server):
    ada, bob = server.chat("?room=since"), server.chat("?room=since")
    joined = bob.event("joined")
    bob.peer.close()
    for number in range(5):
        ada.say(type="message", room_id="since", content=number)
    ada.settled()
    bob = server.chat()
    joined = bob.join("since", since={"epoch": joined["epoch"], "seq_id": 2})
    assert joined["recovered"] is True and joined["seq_id"] == 5, joined
    assert [bob.event("message")["seq_id"] for _ in range(3)] == [3, 4, 5]
    bob.say(type="history", room_id="since", limit=2)
    history = bob.event("history")
    assert [message["seq_id"] for message in history["messages"]] == [4, 5] and history["more"], history
    bob.say(type="who", room_id="since")
    assert bob.event("presence")["count"] == 2


def fragments_become_one_message(server):
    ada, bob = server.chat("?room=fragments"), server.chat("?room=fragments")
    bob.event("joined")
    content = "ä" * 10_000
    command = json.dumps({"type": "message", "room_id": "fragments", "content": content}, ensure_ascii=False)
    parts = [command[at:at + 1_000] for at in range(0, len(command), 1_000)]
    pongs = []
    ada.peer.send_fragments(parts, between=lambda: pongs.append(ada.peer.ping(b"%d" % len(pongs))))
    assert bob.event("message")["content"] == content
    echo = server.connect("/echo")
    echo.send_fragments([b"\x00" * 300, b"", b"\xff" * 70])
    assert echo.recv() == b"\x00" * 300 + b"\xff" * 70


def a_relay_gives_everything_to_the_others(server):
    sender, *others = peers = [server.connect("/raw/a%20relay") for _ in range(3)]
    for peer in others:
        await_member(sender, peer)
    sender.send("begin")
    for peer in others:
        while peer.recv() != "begin":
            pass
    for data in ("text ä", b"\x00\xff binary", "", b"", b"x" * 60_000):
        sender.send(data)
        for peer in others:
            assert peer.recv() == data
    others[0].send("back")
    assert peers[0].recv() == "back" == peers[2].recv()


def await_member(sender, peer):
    """Asks until it is heard, since a relay doesn't say when one is in."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        sender.send("are you in?")
        try:
            peer.recv(0.1)
            return
        except TimeoutError:
            pass
    raise TimeoutError("it is never in")


def an_echo_is_what_was_sent(server):
    peer = server.connect("/echo")
    for size in (0, 1, 125, 126, 127, 65_535, 65_536):
        for data in ("x" * size, bytes(at % 256 for at in range(size))):
            peer.send(data)
            assert peer.recv() == data, f"{type(data)} of {size} bytes"


def a_ping_gets_its_pong(server):
    for path in ("/ws", "/echo", "/raw/pings"):
        peer = server.connect(path)
        for data in (b"", b"ping", bytes(range(125))):
            peer.ping(data)()


def a_close_is_answered_with_its_code(server):
    for path in ("/ws", "/echo", "/raw/closes"):
        for code, reason in ((1000, ""), (1001, "going"), (3000, "ä" * 61), (4999, "mine")):
            assert server.connect(path).close(code, reason) == code


def a_violation_has_its_close_code(server):
    for path, misbehave, code in (
        ("/ws", lambda peer: peer.send(b"binary"), 1003),
        ("/ws", lambda peer: peer.send_bytes_as_text(b'"\xff"'), 1007),
        ("/echo", lambda peer: peer.send_bytes_as_text(b"\xed\xa0\x80"), 1007),
        ("/echo", lambda peer: peer.send(b"x" * 65_537), 1009),
    ):
        peer = server.connect(path)
        misbehave(peer)
        try:
            while True:
                peer.recv()
        except Closed as closed:
            assert closed.code == code, closed


def a_name_has_one_owner(server):
    owner = server.chat("?user=owner")
    refused = server.connect("/ws?user=owner")
    assert json.loads(refused.recv())["code"] == "name_taken"
    try:
        while True:
            refused.recv()
    except Closed as closed:
        assert closed.code == 4001, closed
    owner.settled()


def an_error_leaves_the_connection_open(server):
    chat = server.chat()
    for text, code in (
        ("{", "bad_json"), ("[]", "bad_json"), ("[" * 1000, "bad_json"), ('{"type":"dance"}', "unknown_type"),
        ('{"type":"join"}', "bad_field"), ('{"type":"join","room_id":""}', "bad_name"),
        ('{"type":"who","room_id":"elsewhere"}', "not_joined"),
    ):
        chat.peer.send(text)
        assert chat.event("error")["code"] == code, text
    chat.settled()


def the_subprotocol_is_chosen(server):
    for offered, chosen in ((["roomcast.v1"], "roomcast.v1"), (["other", "roomcast.v1"], "roomcast.v1"), (None, None)):
        assert server.connect("/ws", subprotocols=offered).subprotocol == chosen, offered


def a_page_from_elsewhere_is_refused(server):
    own = server.url.replace("ws://", "http://")
    server.connect("/ws", origin=own).close()
    for path in ("/ws", "/echo", "/raw/origin"):
        try:
            server.connect(path, origin="https://elsewhere.example")
        except Refused as refused:
            assert refused.status == 403, refused
        else:
            raise AssertionError(f"{path} let a page from elsewhere in")


CHECKS = [
    a_room_is_in_one_order_for_everyone,
    content_comes_out_as_it_went_in,
    a_private_message_waits_for_its_reader,
    a_member_comes_back_to_where_it_was,
    fragments_become_one_message,
    a_relay_gives_everything_to_the_others,
    an_echo_is_what_was_sent,
    a_ping_gets_its_pong,
    a_close_is_answered_with_its_code,
    a_violation_has_its_close_code,
    a_name_has_one_owner,
    an_error_leaves_the_connection_open,
    the_subprotocol_is_chosen,
    a_page_from_elsewhere_is_refused,
]


def an_idle_client_stays_and_a_stopping_server_says_bye(server, process):
    chat = server.chat()
    idle_s = 4 * chat.welcome["heartbeat_ms"] / 1000
    try:
        text = chat.peer.recv(idle_s)
        raise AssertionError(f"an idle client got {text}")
    except TimeoutError:
        chat.settled()
    os.kill(process, signal.SIGTERM)
    bye = chat.event("bye")
    assert bye["code"] == 1001 and bye["reconnect"] is True and bye["retry_after_ms"] > 0, bye
    try:
        chat.peer.recv()
    except Closed as closed:
        assert closed.code == 1001, closed
    else:
        raise AssertionError("something came after bye")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=PEERS)
    parser.add_argument("url")
    parser.add_argument("--stop", type=int, metavar="PID")
    options = parser.parse_args()
    server = Server(PEERS[options.library], options.url)
    if options.stop:
        an_idle_client_stays_and_a_stopping_server_says_bye(server, options.stop)
        return
    failed = 0
    for check in CHECKS:
        try:
            check(server)
            print("ok   ", check.__name__, flush=True)
        except Exception:
            failed += 1
            print("FAIL ", check.__name__, traceback.format_exc(), flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    raise SystemExit(failed > 0)


main()
