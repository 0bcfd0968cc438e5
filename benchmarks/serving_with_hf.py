"""Hugging Face's `generate`, greedy, one request after the other, behind a server of one thread.

python benchmarks/serving_with_hf.py MODEL_DIR --port N --threads N [--device cuda]
"""

import argparse
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    HTTPServer(("127.0.0.1", options.port), _handler(_Model(options))).serve_forever()


class _Model:
    """A model that completes chats: float32 on a CPU, bfloat16 on a GPU."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(options.threads)
        dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
        self.tokenizer: Any = AutoTokenizer.from_pretrained(options.model)
        model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype)
        self.model = model.to(options.device).eval()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        inputs = self.tokenizer.apply_chat_template(
            request["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self.model.device)
        ids = self.model.generate(
            **inputs,
            max_new_tokens=request["max_tokens"],
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,
            **({"min_new_tokens": request["max_tokens"]} if request.get("ignore_eos") else {}),
        )[0]
        num_prompt = inputs["input_ids"].shape[1]
        text = self.tokenizer.decode(ids[num_prompt:], skip_special_tokens=True)
        usage = {"prompt_tokens": num_prompt, "completion_tokens": len(ids) - num_prompt}
        return {"choices": [{"message": {"content": text}}], "usage": usage}


def _handler(model: _Model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"status": "ok"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._say(model.complete(json.loads(body)))

        def log_message(self, format: str, *args: Any) -> None: ...

        def _say(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


if __name__ == "__main__":
    main()
