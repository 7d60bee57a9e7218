"""A small WordNet database in the real format (wndb(5WN)), for tests."""

LICENCE = b"  1 This software and database is being provided to you under a license.\n  2 More of it.\n"
SYNSETS = {
    "data.noun": [
        b"00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived  ",
        b"02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 00001740 n 0000 | a member of the genus Canis  ",
        b"09023321 15 n 02 St._Louis 0 Gateway_to_the_West 0 000 | a city in Missouri  ",
        b"03082979 06 n 02 computer 0 computing_machine 0 000 | a machine for performing calculations  ",
    ],
    "data.verb": [b"01926311 38 v 02 run 0 hunt_down 0 000 02 + 01 00 + 02 00 | move fast  "],
    "data.adj": [
        b"00014490 00 a 01 galore(ip) 0 000 | in great numbers  ",
        b"00014858 00 s 02 well(p) 0 DOG 1 001 & 00014490 a 0000 | healthy  ",
    ],
    "data.adv": [b"00011093 02 r 02 well 0 good 0 000 | in a good way  "],
}


def write(folder) -> str:
    folder.mkdir(parents=True)
    for name, lines in SYNSETS.items():
        (folder / name).write_bytes(LICENCE + b"".join(line + b"\n" for line in lines))
    return str(folder)


def write_for_nltk(folder) -> str:
    """The same as a corpus of NLTK, which finds synsets by their place in the file and through the index files."""
    write(folder)
    (folder / "lexnames").write_text("".join(f"{number:02d}\tlex{number}\t1\n" for number in range(45)))
    (folder / "index.sense").write_text("")
    places = {}
    for lines in SYNSETS.values():
        place = len(LICENCE)
        for line in lines:
            places[line[:8]] = b"%08d" % place
            place += len(line) + 1
    for name, lines in SYNSETS.items():
        part = name.removeprefix("data.")
        index: dict[str, list[str]] = {}
        for line in lines:
            fields = line.decode().split(" ")
            for lemma in fields[4 : 4 + 2 * int(fields[3]) : 2]:
                index.setdefault(lemma.split("(")[0].lower(), []).append(places[line[:8]].decode())
        pos = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}[part]
        rows = [f"{lemma} {pos} {len(found)} 0 {len(found)} 0 {' '.join(found)}  \n" for lemma, found in sorted(index.items())]
        (folder / f"index.{part}").write_text("  1 licence\n" + "".join(rows))
        (folder / f"{part}.exc").write_text("")
        data = b"".join(line + b"\n" for line in lines)
        for old, new in places.items():
            data = data.replace(old, new)
        (folder / name).write_bytes(LICENCE + data)
    return str(folder)
