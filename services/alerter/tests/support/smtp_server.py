"""A real SMTP server for tests: prints its port, then each mail that it takes as a line of JSON.

Arguments: --refuse N (451 to the first N mails), --reset N (takes the first N mails and cuts the connection
instead of saying so), --hang N (says nothing to the first N mails), --login N (530 to the first N mails),
--unknown ADDRESS (550 to this recipient), --port PORT.
"""

import argparse
import asyncio
import json
import os
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, arguments):
        self.refuse, self.reset, self.hang = arguments.refuse, arguments.reset, arguments.hang
        self.unknown, self.login = arguments.unknown, arguments.login

    async def handle_MAIL(self, server, session, envelope, address, options):
        if self.login > 0:
            self.login -= 1
            say({"refused": address})
            return "530 5.7.0 log in first"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == self.unknown:
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.refuse > 0:
            self.refuse -= 1
            say({"refused": envelope.rcpt_tos})
            return "451 4.3.0 busy, come back later"
        if self.hang > 0:
            self.hang -= 1
            say({"hangs": envelope.rcpt_tos})
            await asyncio.Event().wait()
        say({"to": envelope.rcpt_tos, "from": envelope.mail_from, "data": envelope.content.decode()})
        if self.reset > 0:
            self.reset -= 1
            server.transport.abort()
        return "250 2.0.0 taken"


def say(value):
    print(json.dumps(value), flush=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--refuse", type=int, default=0)
    parser.add_argument("--reset", type=int, default=0)
    parser.add_argument("--hang", type=int, default=0)
    parser.add_argument("--login", type=int, default=0)
    parser.add_argument("--unknown")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    handler = Handler(arguments)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="test", loop=loop), "127.0.0.1", arguments.port)
    say({"port": server.sockets[0].getsockname()[1]})
    # Ends with the test: its standard input is closed then.
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
