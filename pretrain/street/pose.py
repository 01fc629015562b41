"""Where the joints of a walking person are.

A person's own frame is in metres: X to the person's left, Y up, Z forward, with the origin on the ground between the
feet. One cycle of the gait is two steps; legs and arms swing against each other.
"""

import numpy as np

from pretrain.street.people import Person

GAIT_PHASES = 12
"""A cycle of the gait is drawn in so many poses."""
STANDING = -1
"""The phase of someone who stands still."""
HIP_SWING, KNEE_BEND, ARM_SWING, ELBOW_BEND = 0.46, 0.95, 0.42, 0.3
"""Radians, for a person of average swing."""


def stride_metres(person: Person) -> float:
    """Return the way covered in one cycle of the gait: two steps, from the length of the legs and their swing."""
    return 4 * person.height_metres * person.legs * float(np.sin(HIP_SWING * person.swing)) * 0.95


def joints(person: Person, phase: int) -> dict[str, np.ndarray]:
    """Place the joints.

    Args:
        person: Whose body.
        phase: 0 to `GAIT_PHASES` - 1, or `STANDING`.

    Returns:
        Name to float64 [3] (X, Y, Z) in metres: ``hip``, ``knee``, ``ankle``, ``toe``, ``shoulder``, ``elbow`` and
        ``hand``, each with ``_left`` and ``_right``.
    """
    tall, build = person.height_metres, person.build
    cycle = 2 * np.pi * phase / GAIT_PHASES
    leg, arm = tall * person.legs, tall * 0.4
    points: dict[str, np.ndarray] = {}
    for name, side, angle in (("left", 1, cycle), ("right", -1, cycle + np.pi)):
        is_walking = phase != STANDING
        hip_angle = HIP_SWING * person.swing * np.sin(angle) if is_walking else 0.0
        knee_angle = hip_angle - (KNEE_BEND * max(0.0, np.cos(angle)) + 0.1 if is_walking else 0.0)
        hip = np.array([side * 0.052 * tall * build, leg, 0])
        knee = hip + 0.48 * leg * _swung(hip_angle)
        ankle = knee + 0.45 * leg * _swung(knee_angle)
        toe_angle = min(knee_angle + 0.1, 0.25)
        toe = ankle + tall * np.array([side * 0.02, -0.022 + 0.05 * np.sin(toe_angle), 0.085 * np.cos(toe_angle)])
        arm_angle = -ARM_SWING * person.swing * np.sin(angle) if is_walking else 0.0
        shoulder = np.array([side * (0.094 * tall * build + 0.004), 0.8 * tall, 0])
        elbow = shoulder + 0.46 * arm * (_swung(arm_angle) + np.array([side * 0.16, 0, 0]))
        bend = ELBOW_BEND + max(0.0, arm_angle) if is_walking else 0.12
        hand = elbow + 0.44 * arm * _swung(arm_angle + bend)
        for joint, point in zip(
            ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "hand"),
            (hip, knee, ankle, toe, shoulder, elbow, hand),
            strict=True,
        ):
            points[f"{joint}_{name}"] = point
    drop = min(points["ankle_left"][1], points["ankle_right"][1]) - 0.04 * tall  # the lower foot is on the ground
    for point in points.values():
        point[1] -= drop
    return points


def _swung(angle: float) -> np.ndarray:
    """Direction of a limb that hangs down and swings forward by an angle."""
    return np.array([0.0, -np.cos(angle), np.sin(angle)])
