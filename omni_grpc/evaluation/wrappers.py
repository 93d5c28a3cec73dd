"""Other ways to put the same question: letters, instructions and fences around it, rewritten.

Training sees each prompt also as somebody else would have written it, so that what it learns is
the question and not the habit of one benchmark. Only training and tests come here, never a
decision.
"""

import hashlib
import re
from typing import Final

import msgspec

_CHOICE: Final = re.compile(r"(?m)^([A-J])\. ")
_FENCED: Final = re.compile(r"^.*?\n\n\[PYTHON\]\n(.*)\n\[/PYTHON\]\s*$", re.DOTALL)
_TOOLS: Final = re.compile(r"^\[tools=(\d+)\] (.*)$", re.DOTALL)


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """Ways of writing; a prompt takes one of each kind."""

    heads: tuple[str, ...]
    tails: tuple[str, ...]
    choice_heads: tuple[str, ...]
    markers: tuple[str, ...]
    code: tuple[tuple[str, str], ...]
    tools: tuple[str, ...]


TRAINING: Final = Style(
    heads=(
        "",
        "",
        "Question: ",
        "Q: ",
        "Answer the following question.\n\n",
        "Please solve this problem.\n",
        "Choose the best answer.\n\nQuestion: ",
        "Problem:\n",
        "Here is a task for you. Think step by step.\n\n",
        "You are a helpful assistant. ",
        "### Question\n",
        "Solve the following and explain your reasoning.\n\n",
        "The following is a multiple choice question (with answers).\n\n",
        "I have a question for you: ",
        "Can you help me solve this?\n\n",
        "Below is an instruction that describes a task. Write a fitting response.\n\n",
        "You are an expert. Be precise and concise.\n\n",
        "Exam question:\n",
        "Think carefully before you reply.\n\n",
        "My teacher gave me this one. ",
        "[Q] ",
        "Prompt: ",
        "Read this and tell me the result.\n",
        "Here is what I want to know.\n\n",
        "Please respond to the user's query below.\n\nUser: ",
    ),
    tails=(
        "",
        "",
        "\nAnswer:",
        "\n\nAnswer: Let us think step by step.",
        "\nA:",
        "\n\nGive only the final answer.",
        "\nPut the final answer in \\boxed{}.",
        "\n\nRespond with the letter of the correct choice.",
        "\n### Answer\n",
        "\n\nExplain briefly.",
        "\n\nResult:",
        "\nShow your work and state the result at the end.",
        "\n\nKeep it short.",
        '\n\nEnd with "Answer: X".',
        "\nWhat do you think?",
        "\n\nResponse:",
        "\n\nOutput only one line.",
        "\n\nThanks!",
        "\nNow write down the correct answer.",
    ),
    choice_heads=("", "", "Options:\n", "Choices:\n", "Answer choices:\n", "Pick one:\n"),
    markers=(
        "{upper}. ",
        "({upper}) ",
        "{upper}) ",
        "({lower}) ",
        "{lower}) ",
        "{number}. ",
        "({number}) ",
        "- ",
        "• ",
    ),
    code=(
        ("Complete the assertion.\n\n```python\n", "\n```"),
        ("What does this code return? Give the literal.\n\n", ""),
        ("[PYTHON]\n", "\n[/PYTHON]"),
        ("Replace ?? by the output of this Python function.\n```\n", "\n```"),
        ("<code>\n", "\n</code>\nFill in the assertion."),
        ("Here is some code. Say what replaces the question marks.\n\n", ""),
        ("~~~python\n", "\n~~~\nComplete it."),
        ("", "\n\nGive the missing value."),
    ),
    tools=(
        "{text}\nTools: {commas}",
        "[tools={count}] {text} {spaced}",
        "Available functions: {commas}\n\n{text}",
        "{text} ({commas})",
        "Use one of these functions: {commas}.\nUser: {text}",
        "{text}\n\n{spaced}",
        "{text}\n[{commas}]",
        "API: {spaced}\n\nTask: {text}",
        "{count} functions can be called ({commas}).\n{text}",
    ),
)
"""What training sees."""

UNSEEN: Final = Style(
    heads=(
        "",
        "Read the question carefully and give an answer.\n\n",
        "Consider this exercise:\n",
        "I need help with this: ",
        "Exercise. ",
        "You will be asked something. Respond accurately.\n\n",
        "**Question**: ",
        "Task: ",
    ),
    tails=(
        "",
        "\nYour answer:",
        "\n\nThe answer is",
        '\n\nFinish with "The final answer is X".',
        "\nReply in one short line.",
        "\n\nSolution:",
    ),
    choice_heads=("", "Possible answers:\n", "Select one:\n", "Alternatives:\n"),
    markers=("{lower}. ", "{number}) ", "{upper}: ", "* ", "[{upper}] "),
    code=(
        ("Work out the value that makes the assert true.\n\n```py\n", "\n```"),
        ("", "\n\nWhich literal stands for ?? here"),
        ("Predict the output of the function below.\n~~~\n", "\n~~~"),
        ("# Python 3\n", ""),
    ),
    tools=(
        "You can call: {commas}\nRequest: {text}",
        "{text}\n\nfunctions = [{commas}]",
        "{count} tools: {spaced}\n{text}",
        "<tools>{spaced}</tools>{text}",
    ),
)
"""What training never sees; decisions are tested to stay the same under it."""


def rewritten(prompt: str, style: Style, seed: int = 0) -> str:
    """A prompt with other wrappers; the same prompt, style and seed always give the same."""
    digest = hashlib.blake2b(f"{seed}\0{prompt}".encode("utf-8", "replace")).digest()
    fenced = _FENCED.match(prompt)
    if fenced is not None:
        before, after = style.code[digest[0] % len(style.code)]
        return f"{before}{fenced[1]}{after}"
    tools = _TOOLS.match(prompt)
    if tools is not None:
        return _with_tools(int(tools[1]), tools[2], style.tools[digest[1] % len(style.tools)])
    if _CHOICE.search(prompt) is not None:
        marker = style.markers[digest[2] % len(style.markers)]
        head = style.choice_heads[digest[3] % len(style.choice_heads)]
        first = _CHOICE.search(prompt)
        start = 0 if first is None else first.start()
        choices = _CHOICE.sub(lambda found: _marked(marker, found[1]), prompt[start:])
        prompt = f"{prompt[:start]}{head}{choices}"
    before = style.heads[digest[4] % len(style.heads)]
    return f"{before}{prompt}{style.tails[digest[5] % len(style.tails)]}"


def _marked(marker: str, letter: str) -> str:
    return marker.format(upper=letter, lower=letter.lower(), number=ord(letter) - ord("A") + 1)


def _with_tools(count: int, said: str, form: str) -> str:
    words = said.split(" ")
    kept = min(max(count, 1), len(words) - 1)
    names = words[len(words) - kept :]
    return form.format(
        text=" ".join(words[: len(words) - kept]),
        commas=", ".join(names),
        spaced=" ".join(names),
        count=count,
    )
