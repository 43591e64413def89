"""The least MCP server that answers a call: what a call costs beside it is the way there and back."""
import json, sys

read, write = sys.stdin.buffer.readline, sys.stdout.buffer
ECHO = {"name": "echo", "description": "Says it again.", "inputSchema": {"type": "object", "properties": {"message": {"type": "string"}}}}
while line := read():
    try:
        message = json.loads(line)
    except ValueError:
        continue
    if "id" not in message or "method" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if method == "tools/call":
        text = params.get("arguments", {}).get("message", "")
        answer["result"] = {"content": [{"type": "text", "text": text}]}
    elif method == "initialize":
        answer["result"] = {"protocolVersion": params.get("protocolVersion"), "capabilities": {"tools": {}}, "serverInfo": {"name": "null", "version": "1"}}
    elif method == "tools/list":
        answer["result"] = {"tools": [ECHO]}
    elif method == "ping":
        answer["result"] = {}
    else:
        answer["error"] = {"code": -32601, "message": "no such method"}
    write.write(json.dumps(answer).encode() + b"\n")
    write.flush()
