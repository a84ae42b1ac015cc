"""MONAI Label's own command in a process that has no sam2 and reaches nothing but this machine; what it tries all the same is printed."""

import importlib.abc
import runpy
import socket
import sys

ALARM = "REACHED OUT"


class NoSam2(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "sam2":
            print(f"{ALARM}: imports {name}", flush=True)
            raise ImportError(f"{name} is not to be imported")


def guard(function):
    def guarded(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            print(f"{ALARM}: connects to {address}", flush=True)
            raise OSError("nothing outside this machine is to be reached")
        return function(self, address)

    return guarded


def look_up(host, *args, **kwargs):
    if host not in (None, "127.0.0.1", "::1", "localhost", "0.0.0.0"):
        print(f"{ALARM}: looks up {host}", flush=True)
        raise OSError("nothing outside this machine is to be reached")
    return resolve(host, *args, **kwargs)


if __name__ == "__main__":
    sys.meta_path.insert(0, NoSam2())
    resolve, socket.getaddrinfo = socket.getaddrinfo, look_up
    guarded = {"connect": guard(socket.socket.connect), "connect_ex": guard(socket.socket.connect_ex)}
    socket.socket = type("GuardedSocket", (socket.socket,), guarded)
    runpy.run_module("monailabel.main", run_name="__main__", alter_sys=True)
