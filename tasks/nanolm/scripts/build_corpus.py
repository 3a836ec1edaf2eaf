#!/usr/bin/env python3
"""Build the three byte corpora (english, python, c) from Debian and PyPI packages.

    python build_corpus.py --debs DIR --wheels DIR --out DIR

--debs   folder with doc-rfc-{std,std-proposed,old-std,informational,others,experimental}
         (Debian bookworm, non-free, 20230121-1) and linux-source-6.1 (6.1.192-2)
--wheels folder with the wheels listed in PACKAGES.txt (pip download --no-deps)

Writes DOMAIN_train.bin, DOMAIN_val.bin and corpus.json (sizes, sha256, xz rates).
The build is deterministic: documents are ordered by the sha256 of their name.
"""

import argparse
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import subprocess
import tarfile
import zipfile
import zlib

MiB = 1 << 20
TRAIN_CAP = {"english": 144 * MiB, "python": 32 * MiB, "c": 32 * MiB}
VAL_BYTES = MiB + 1  # 1 MiB of predictions
VAL_SLICE = 16 * 1024  # at most this much from one held-out document


def h(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def deb_members(path):
    """Yield (name, bytes) of the regular files of a .deb."""
    p = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=p.stdout, mode="r|") as t:
        for m in t:
            if m.isfile():
                yield m.name, t.extractfile(m)
    p.wait()


PAGE_FOOT = re.compile(r"\[Page\s+[0-9ivxlc]+\]\s*$", re.I)


def clean_rfc(raw):
    """Drop page footers ('... [Page n]'), form feeds and the running header after them;
    squeeze runs of blank lines to one."""
    text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    out, after_ff, blank = [], False, True
    for line in text.split("\n"):
        if PAGE_FOOT.search(line):
            continue
        if "\f" in line:
            line = line.replace("\f", "")
            after_ff = True
            if not line.strip():
                continue
        if after_ff and line.strip():
            after_ff = False
            if re.match(r"^(RFC|IEN|Internet|INTERNET|Network)\b.*", line):
                continue
        line = line.rstrip()
        if not line:
            if blank:
                continue
            blank = True
        else:
            blank = False
        out.append(line)
    return "\n".join(out).strip() + "\n"


def english_docs(debs):
    seen = set()
    for f in sorted(os.listdir(debs)):
        if not f.startswith("doc-rfc-"):
            continue
        for name, fh in deb_members(os.path.join(debs, f)):
            base = os.path.basename(name)
            m = re.match(r"^rfc(\d+)\.txt(\.gz)?$", base)
            if not m or m.group(1) in seen:
                continue
            seen.add(m.group(1))
            raw = fh.read()
            if base.endswith(".gz"):
                raw = gzip.decompress(raw)
            txt = clean_rfc(raw)
            if len(txt) > 2000:
                yield "rfc" + m.group(1), txt.encode("ascii", "replace")


def python_docs(wheels):
    for f in sorted(os.listdir(wheels)):
        if not f.endswith(".whl"):
            continue
        with zipfile.ZipFile(os.path.join(wheels, f)) as z:
            for n in sorted(z.namelist()):
                if n.endswith(".py"):
                    b = z.read(n)
                    if 500 < len(b) < 200_000:
                        yield f.split("-")[0] + "/" + n, b


C_DIRS = (
    "kernel/",
    "mm/",
    "fs/",
    "net/",
    "block/",
    "lib/",
    "ipc/",
    "security/",
    "sound/core/",
    "crypto/",
    "drivers/base/",
    "drivers/char/",
    "drivers/usb/",
    "drivers/md/",
    "drivers/scsi/",
    "drivers/net/",
    "drivers/pci/",
    "drivers/mtd/",
)


def c_docs(debs):
    for f in sorted(os.listdir(debs)):
        if not f.startswith("linux-source-6.1_"):
            continue
        for name, fh in deb_members(os.path.join(debs, f)):
            if not name.endswith(".tar.xz"):
                continue
            with tarfile.open(fileobj=fh, mode="r|xz") as t:
                for m in t:
                    rel = m.name.split("/", 1)[-1]
                    if m.isfile() and rel.endswith(".c") and rel.startswith(C_DIRS) and 500 < m.size < 200_000:
                        yield rel, t.extractfile(m).read()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--debs", required=True)
    ap.add_argument("--wheels", required=True)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    info = {}
    for dom, docs in (("english", english_docs(a.debs)), ("python", python_docs(a.wheels)), ("c", c_docs(a.debs))):
        seen, items = set(), []
        for name, b in docs:
            k = hashlib.sha256(b).digest()
            if k in seen:  # exact duplicates
                continue
            seen.add(k)
            items.append((h(name), name, b))
        items.sort(key=lambda t: t[:2])
        n_val_docs, val, train, n_train_docs, size = 0, [], [], 0, 0
        need = VAL_BYTES
        for hh, name, b in items:
            if hh % 20 == 0:  # 5 % of documents are held out
                if need > 0:
                    off = (hh >> 8) % max(1, len(b) - VAL_SLICE)
                    s = b[off : off + VAL_SLICE][:need]
                    val.append(s)
                    need -= len(s)
                    n_val_docs += 1
            elif size < TRAIN_CAP[dom]:
                train.append(b)
                size += len(b)
                n_train_docs += 1
        tr, va = b"".join(train)[: TRAIN_CAP[dom]], b"".join(val)
        rec = dict(
            train_bytes=len(tr),
            val_bytes=len(va),
            train_docs=n_train_docs,
            val_docs=n_val_docs,
            available_docs=len(items),
            available_bytes=sum(len(b) for _, _, b in items),
        )
        for part, data in (("train", tr), ("val", va)):
            open(os.path.join(a.out, f"{dom}_{part}.bin"), "wb").write(data)
            rec[part + "_sha256"] = hashlib.sha256(data).hexdigest()
        rec["val_xz9_bits_per_byte"] = round(8 * len(lzma.compress(va, preset=9 | lzma.PRESET_EXTREME)) / len(va), 4)
        rec["val_gzip9_bits_per_byte"] = round(8 * len(zlib.compress(va, 9)) / len(va), 4)
        info[dom] = rec
        print(dom, rec, flush=True)
    json.dump(info, open(os.path.join(a.out, "corpus.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
