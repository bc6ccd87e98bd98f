"""The configuration of --multi-prog."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.errors import SlurmError
from slurm.multiprog import parse_multi_prog, programs_of

TEXT = """\
# a comment
0       ./first  arg %t
1-3,7   /bin/second
4-6:2   third \\
        over two lines
*       "rest"
"""


def test_each_rank_has_its_programs() -> None:
    assert programs_of(TEXT, (0,)) == ("./first", "rest")
    assert programs_of(TEXT, (2, 7)) == ("/bin/second", "rest")
    assert programs_of(TEXT, (4,)) == programs_of(TEXT, (6,)) == ("third", "rest")
    assert programs_of(TEXT, (5,)) == ("rest",)
    assert programs_of(TEXT, ()) == ()


def test_a_line_without_a_program_is_named() -> None:
    with pytest.raises(SlurmError, match=r"a line without a program: '0-3'"):
        parse_multi_prog("0-3\n")


@given(st.text(), st.tuples(st.integers(0, 5)))
def test_any_text_is_read_or_refused(text: str, ranks: tuple[int, ...]) -> None:
    try:
        programs_of(text, ranks)
    except SlurmError as error:
        assert "--multi-prog" in str(error)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=5), st.integers(0, 99))
def test_a_list_of_ranks_holds_what_it_lists(ranks: list[int], rank: int) -> None:
    text = f"{','.join(map(str, ranks))} prog"
    assert (programs_of(text, (rank,)) == ("prog",)) == (rank in ranks)
