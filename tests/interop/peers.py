"""One WebSocket connection, as each of two Python libraries does it."""

import time

import websocket
import websockets.exceptions
import websockets.sync.client

PATIENCE_S = 20


class Closed(Exception):
    """The server closed the connection, with this code."""

    def __init__(self, code, reason):
        super().__init__(f"closed with {code}: {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered the upgrade with this HTTP status."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


class WebsocketsPeer:
    """https://github.com/python-websockets/websockets"""

    def __init__(self, url, subprotocols=None, origin=None):
        try:
            self.socket = websockets.sync.client.connect(
                url, subprotocols=subprotocols, origin=origin, open_timeout=PATIENCE_S, close_timeout=PATIENCE_S)
        except websockets.exceptions.InvalidStatus as error:
            raise Refused(error.response.status_code) from None

    @property
    def subprotocol(self):
        return self.socket.subprotocol

    def send(self, data):
        self.socket.send(data)

    def send_fragments(self, parts, between=lambda: None):
        def paced():
            for part in parts:
                yield part
                between()

        self.socket.send(paced())

    def send_bytes_as_text(self, data):
        self.socket.send(data, text=True)

    def recv(self, timeout_s=PATIENCE_S):
        try:
            return self.socket.recv(timeout_s)
        except websockets.exceptions.ConnectionClosed as error:
            if error.rcvd is None:
                raise
            raise Closed(error.rcvd.code, error.rcvd.reason) from None

    def ping(self, data):
        """Sends a ping. The function that this returns waits for its pong."""
        pong = self.socket.ping(data)

        def wait():
            assert pong.wait(PATIENCE_S), "no pong"

        return wait

    def close(self, code=1000, reason=""):
        """Closes, and gives the code that the server answered with."""
        self.socket.close(code, reason)
        return self.socket.protocol.close_rcvd.code


class WebsocketClientPeer:
    """https://github.com/websocket-client/websocket-client"""

    def __init__(self, url, subprotocols=None, origin=None):
        try:
            self.socket = websocket.create_connection(
                url, subprotocols=subprotocols, origin=origin, suppress_origin=origin is None, timeout=PATIENCE_S)
        except websocket.WebSocketBadStatusException as error:
            raise Refused(error.status_code) from None

    @property
    def subprotocol(self):
        return self.socket.getsubprotocol()

    def send(self, data):
        if isinstance(data, str):
            self.socket.send_text(data)
        else:
            self.socket.send_bytes(data)

    def send_fragments(self, parts, between=lambda: None):
        for at, part in enumerate(parts):
            opcode = websocket.ABNF.OPCODE_TEXT if isinstance(part, str) else websocket.ABNF.OPCODE_BINARY
            opcode = opcode if at == 0 else websocket.ABNF.OPCODE_CONT
            fin = at == len(parts) - 1
            data = part.encode() if isinstance(part, str) else part
            self.socket.send_frame(websocket.ABNF(fin, 0, 0, 0, opcode, 1, data))
            between()

    def send_bytes_as_text(self, data):
        self.socket.send_frame(websocket.ABNF(1, 0, 0, 0, websocket.ABNF.OPCODE_TEXT, 1, data))

    def recv(self, timeout_s=PATIENCE_S):
        # Pings of the server come in between, and are answered within.
        deadline = time.monotonic() + timeout_s
        while True:
            opcode, data = self._recv_any(max(deadline - time.monotonic(), 0.001))
            if opcode == websocket.ABNF.OPCODE_TEXT:
                return data.decode()
            if opcode == websocket.ABNF.OPCODE_BINARY:
                return data

    def ping(self, data):
        """Sends a ping. The function that this returns waits for its pong."""
        self.socket.ping(data)

        def wait():
            opcode = None
            while opcode != websocket.ABNF.OPCODE_PONG:
                opcode, received = self._recv_any(PATIENCE_S)
            assert received == data, f"a pong of {received} to a ping of {data}"

        return wait

    def close(self, code=1000, reason=""):
        """Closes, and gives the code that the server answered with."""
        self.socket.send_close(code, reason.encode())
        try:
            while True:
                self._recv_any(PATIENCE_S)
        except Closed as closed:
            return closed.code
        finally:
            self.socket.shutdown()

    def _recv_any(self, timeout_s):
        self.socket.settimeout(timeout_s)
        try:
            opcode, frame = self.socket.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:
            raise TimeoutError from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(frame.data[:2], "big") if frame.data else 1005
            raise Closed(code, frame.data[2:].decode())
        return opcode, frame.data


PEERS = {"websockets": WebsocketsPeer, "websocket-client": WebsocketClientPeer}
