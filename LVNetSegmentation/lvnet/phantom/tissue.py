"""HU of each tissue in one scan, by contrast phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PHASES = ("plain", "arterial", "portal", "late")
AIR = -1000.0


@dataclass(frozen=True)
class Tissues:
    """Mean HU of the tissues in one scan.

    The liver's value is drawn around the muscle's, and those of the other soft organs around the liver's, so
    that no threshold separates them, as in many real scans without contrast or in early phases.
    """

    phase: str
    fatty: bool
    muscle: float
    fat: float
    liver: float
    hepatic_vein: float
    portal_vein: float
    spleen: float
    cortex: float
    medulla: float
    aorta: float
    cava: float
    myocardium: float
    pancreas: float
    bowel_wall: float
    bile: float
    lung: float
    spongiosa: float
    compact_bone: float
    oral_contrast: bool
    patchiness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tissues:
        """A random contrast phase with the HU of its tissues."""
        phase = str(rng.choice(PHASES, p=(0.25, 0.2, 0.4, 0.15)))
        plain, arterial, portal = phase == "plain", phase == "arterial", phase == "portal"

        def pick(in_plain: tuple, in_arterial: tuple, in_portal: tuple, in_late: tuple) -> float:
            low, high = dict(zip(PHASES, (in_plain, in_arterial, in_portal, in_late)))[phase]
            return float(rng.uniform(low, high))

        muscle = pick((46, 60), (54, 68), (62, 82), (58, 74))
        fatty = bool(rng.random() < 0.2)
        liver = muscle + (rng.uniform(-7.0, -3.0) if fatty else rng.uniform(-5.0, 4.0))
        aorta = pick((36, 48), (220, 330), (120, 165), (90, 120))
        cava = aorta * rng.uniform(0.92, 1.0) if not arterial else rng.uniform(50.0, 110.0)
        vein = pick((-16, -5), (-6, 8), (20, 60), (8, 25))
        return cls(
            phase=phase,
            fatty=fatty,
            muscle=muscle,
            fat=rng.uniform(-112.0, -92.0),
            liver=liver,
            hepatic_vein=liver + vein * (0.0 if arterial else rng.uniform(0.7, 1.1)),
            portal_vein=liver + (rng.uniform(5.0, 45.0) if arterial else vein),
            spleen=liver + pick((-9, 6), (15, 50), (-4, 26), (-6, 12)),
            cortex=pick((28, 38), (140, 200), (130, 180), (105, 145)),
            medulla=pick((26, 36), (50, 90), (95, 150), (100, 150)),
            aorta=aorta,
            cava=cava,
            myocardium=liver + (rng.uniform(-9.0, 3.0) if plain else rng.uniform(2.0, 30.0)),
            pancreas=muscle + (rng.uniform(-12.0, 2.0) if plain else rng.uniform(-5.0, 25.0)),
            bowel_wall=muscle + (rng.uniform(-10.0, 2.0) if plain else rng.uniform(-5.0, 22.0)),
            bile=rng.uniform(0.0, 18.0),
            lung=rng.uniform(-870.0, -800.0),
            spongiosa=rng.uniform(130.0, 230.0),
            compact_bone=rng.uniform(380.0, 620.0),
            oral_contrast=bool(rng.random() < (0.3 if not portal else 0.4)),
            patchiness=rng.uniform(8.0, 13.0),
        )

    def contents(self, rng: np.random.Generator) -> float:
        """HU of the contents of the stomach or one bowel loop: fluid, food, or contrast agent."""
        kind = rng.random()
        if self.oral_contrast and kind < 0.45:
            return float(rng.uniform(self.liver - 5.0, self.liver + 150.0))
        if kind < 0.55:
            return float(rng.uniform(8.0, 32.0))
        return float(rng.uniform(self.liver - 18.0, self.liver + 12.0))
