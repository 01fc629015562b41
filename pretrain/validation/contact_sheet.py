"""A picture of mined pairs, the most and the least reliable, with right and wrong marked by colour and by word."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pretrain.validation.auditor import AuditedPair

HEIGHT, WIDTH, LABEL, GAP, COLUMNS = 128, 64, 18, 6, 8
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)
"""Blue and vermilion, which people with colour blindness tell apart."""


def draw_contact_sheet(best: Sequence[AuditedPair], worst: Sequence[AuditedPair]) -> NDArray[np.uint8]:
    """Draw pairs in two groups under headings; RGB uint8 [H, W, 3]."""
    width = COLUMNS * (2 * WIDTH + GAP) + GAP
    parts = [
        _heading("most reliable", width),
        *_rows(best, width),
        _heading("least reliable", width),
        *_rows(worst, width),
    ]
    return np.concatenate(parts)


def _heading(text: str, width: int) -> NDArray[np.uint8]:
    strip = np.full((28, width, 3), 255, dtype=np.uint8)
    cv2.putText(strip, text, (GAP, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _rows(pairs: Sequence[AuditedPair], width: int) -> list[NDArray[np.uint8]]:
    rows: list[NDArray[np.uint8]] = []
    for start in range(0, len(pairs), COLUMNS):
        row = np.full((HEIGHT + LABEL + GAP, width, 3), 255, dtype=np.uint8)
        for column, pair in enumerate(pairs[start : start + COLUMNS]):
            left = GAP + column * (2 * WIDTH + GAP)
            row[:HEIGHT, left : left + WIDTH] = cv2.resize(pair.first, (WIDTH, HEIGHT))
            row[:HEIGHT, left + WIDTH : left + 2 * WIDTH] = cv2.resize(pair.second, (WIDTH, HEIGHT))
            colour = RIGHT if pair.is_right else WRONG
            cv2.rectangle(row, (left, 0), (left + 2 * WIDTH - 1, HEIGHT - 1), colour, 3)
            text = f"{'right' if pair.is_right else 'WRONG'} {pair.reliability:.2f}"
            cv2.putText(row, text, (left, HEIGHT + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        rows.append(row)
    return rows
