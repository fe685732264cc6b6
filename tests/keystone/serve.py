"""Serve a Keystone on loopback: `python serve.py PORT`, with its configuration in $OS_KEYSTONE_CONFIG_DIR.

Runs in Keystone's own environment, with the small server that its dependencies bring.
"""

import sys

from werkzeug.serving import make_server

port = int(sys.argv.pop())  # Keystone reads the rest of the command line

from keystone.wsgi.api import application  # noqa: E402

make_server("127.0.0.1", port, application, threaded=True).serve_forever()
