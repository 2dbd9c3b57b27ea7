#!/usr/bin/env python3
"""A WS-Man server whose NTLM is pyspnego's, and its Kerberos MIT's: it checks fleetmend's clients with independent implementations.

usage: NTLM_USER_FILE=FILE ntlm_acceptor.py [CERTIFICATE KEY]

FILE holds DOMAIN:user:password lines. Over HTTP every message must be sealed; with a certificate it speaks HTTPS and
insists on the channel binding of RFC 5929. With KRB5_KTNAME and KRB5_HOST it takes Kerberos for HTTP/that host and nothing else. It prints "ready PORT" and serves until its stdin ends. A command's stdout is
its stdin. The path chooses how it behaves after the logon: /wsman as it should, /tamper flips a bit of each sealed
answer, /plain answers without sealing, /replay seals each answer with a stale sequence, /weak offers no sealing at all.
"""
import base64
import hashlib
import http.server
import os
import re
import ssl
import struct
import sys
import threading
import types

if os.environ.get("KRB5_KTNAME"):
    # Debian's python3-gssapi, beside the packages of this environment; krb5 is for pyspnego's client side alone.
    sys.path.append("/usr/lib/python3/dist-packages")
    sys.modules.setdefault("krb5", types.ModuleType("krb5"))
    import gssapi  # noqa: F401

import spnego
import spnego.channel_bindings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
SEALED = b"application/HTTP-SPNEGO-session-encrypted"
BOUNDARY = b"--Encrypted Boundary"
IDENTIFY = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"
IDENTIFIED = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><i:IdentifyResponse xmlns:i="%s">'
    "<i:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</i:ProtocolVersion>"
    "<i:ProductVendor>Microsoft Corporation</i:ProductVendor></i:IdentifyResponse></s:Body></s:Envelope>" % IDENTIFY
).encode()

bindings = None


def certificate_bindings(path):
    """The channel binding of a certificate, from RFC 5929 section 4.1."""
    with open(path, "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
        algorithm = hashes.SHA256()
    der = certificate.public_bytes(serialization.Encoding.DER)
    digest = hashlib.new(algorithm.name, der).digest()
    return spnego.channel_bindings.GssChannelBindings(application_data=b"tls-server-end-point:" + digest)


def envelope(action, relates_to, body):
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:rsp="%s"><s:Header><a:Action>%s</a:Action>'
        "<a:RelatesTo>%s</a:RelatesTo></s:Header><s:Body>%s</s:Body></s:Envelope>" % (SHELL, action, relates_to, body)
    ).encode()


def acceptor():
    """NTLM, or Kerberos with the keytab of KRB5_KTNAME where that is set."""
    if os.environ.get("KRB5_KTNAME"):
        return spnego.server(hostname=os.environ["KRB5_HOST"], service="HTTP", protocol="negotiate", channel_bindings=bindings)
    return spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm, channel_bindings=bindings)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.context = None
        self.stdin = b""
        self.last = None

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", content_type=None, challenge=None):
        self.send_response(status)
        if challenge is not None:
            self.send_header("WWW-Authenticate", challenge)
        if content_type is not None:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        authorization = self.headers.get("Authorization", "")
        if authorization.startswith("Negotiate "):
            self.logon(base64.b64decode(authorization[len("Negotiate "):]))
        elif self.context is None or not self.context.complete:
            self.answer(401, challenge="Negotiate")
        else:
            self.soap(body)

    def logon(self, token):
        if self.context is None or self.context.complete:
            self.context = acceptor()
        try:
            out = self.context.step(token)
        except Exception as problem:  # whatever pyspnego dislikes is a refused logon
            print("refused: %s" % problem, file=sys.stderr, flush=True)
            self.context = None
            self.answer(401, challenge="Negotiate")
            return
        if self.context.complete:
            print("logon: %s" % self.context.client_principal, file=sys.stderr, flush=True)
            self.answer(200, challenge=None if not out else "Negotiate " + base64.b64encode(out).decode())
            return
        if self.path == "/weak":
            flags = struct.unpack_from("<I", out, 20)[0] & ~0x20
            out = out[:20] + struct.pack("<I", flags) + out[24:]
        self.answer(401, challenge="Negotiate " + base64.b64encode(out).decode())

    def soap(self, body):
        sealed = self.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if not sealed and bindings is None:
            self.answer(401, challenge="Negotiate")
            return
        if sealed:
            body = self.unseal(body)
        text = body.decode()
        if IDENTIFY in text:  # it has no header
            reply = IDENTIFIED
        else:
            action = re.search(r"<a:Action[^>]*>([^<]*)<", text).group(1)
            message = re.search(r"<a:MessageID[^>]*>([^<]*)<", text).group(1)
            reply = self.perform(action, message, text)
        if not sealed or self.path == "/plain":
            self.answer(200, reply, "application/soap+xml;charset=UTF-8")
            return
        self.answer(200, self.seal(reply), 'multipart/encrypted;protocol="%s";boundary="Encrypted Boundary"' % SEALED.decode())

    def perform(self, action, message, text):
        if action == TRANSFER + "/Create":
            result = "<rsp:Shell><rsp:ShellId>S1</rsp:ShellId></rsp:Shell>"
        elif action == SHELL + "/Command":
            result = "<rsp:CommandResponse><rsp:CommandId>C1</rsp:CommandId></rsp:CommandResponse>"
        elif action == SHELL + "/Send":
            self.stdin += base64.b64decode(re.search(r"<rsp:Stream[^>]*>([^<]*)<", text).group(1))
            result = "<rsp:SendResponse/>"
        elif action == SHELL + "/Receive":
            output = base64.b64encode(self.stdin).decode()
            result = (
                '<rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="C1">%s</rsp:Stream>'
                '<rsp:CommandState CommandId="C1" State="%s/CommandState/Done"><rsp:ExitCode>7</rsp:ExitCode>'
                "</rsp:CommandState></rsp:ReceiveResponse>" % (output, SHELL)
            )
        else:
            result = ""
        return envelope(action + "Response", message, result)

    def unseal(self, body):
        header, rest = body.split(b"\tContent-Type: application/octet-stream\r\n", 1)
        length = int(re.search(rb"Length=(\d+)", header).group(1))
        if SEALED not in header or not rest.endswith(BOUNDARY + b"--\r\n"):
            raise ValueError("malformed multipart")
        rest = rest[: -len(BOUNDARY + b"--\r\n")]
        size = struct.unpack_from("<I", rest)[0]
        message = self.context.unwrap_winrm(rest[4 : 4 + size], rest[4 + size :])
        if len(message) != length:
            raise ValueError("length %d, declared %d" % (len(message), length))
        return message

    def seal(self, message):
        wrapped = self.context.wrap_winrm(message)
        header, data = wrapped.header, wrapped.data
        if self.path == "/tamper":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.path == "/replay":
            if self.last is not None:
                message, header, data = self.last
            self.last = message, header, data
        return b"".join([
            BOUNDARY, b"\r\n\tContent-Type: ", SEALED, b"\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=",
            str(len(message)).encode(), b"\r\n", BOUNDARY, b"\r\n\tContent-Type: application/octet-stream\r\n",
            struct.pack("<I", len(header)), header, data, BOUNDARY, b"--\r\n",
        ])


def main():
    global bindings
    http.server.ThreadingHTTPServer.request_queue_size = 128  # five callers at once are too few
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if len(sys.argv) > 1:
        bindings = certificate_bindings(sys.argv[1])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    print("ready %d" % server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
