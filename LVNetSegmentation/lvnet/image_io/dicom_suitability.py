"""Ranking the scans of a folder by suitability, and describing each with a fixed vocabulary."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from .dicom_slices import SAME_PLACE_MM, Slice, heights_of

# Images that are not original scans: patterns in image type and description, and their name.
_DERIVED = (
    (r"LOCALI[SZ]ER|SCOUT|TOPOGRAM|SURVIEW|SCANOGRAM", "localizer"),
    (r"BOLUS|MONITORING|SMART ?PREP|SURE ?START|TRACKER|\bPREMON", "bolus tracking"),
    (r"DOSE ?(REPORT|INFO|RECORD|SUMMARY)|PATIENT PROTOCOL|\bREPORT\b", "dose report"),
    (r"SCREEN ?(SAVE|SHOT|CAPTURE)|SNAPSHOT|\bCAPTURE\b|SECONDARY CAPTURE", "screenshot"),
    (r"\bMIN ?IP\b|MINIMUM INTENSITY|\bMIN_IP\b", "MinIP"),
    (r"\bMIP\b|MAX_?IP|MAXIMUM INTENSITY|PROJECTION IMAGE|\bTHIN ?MIP", "MIP"),
    (r"\bVRT?\b|VOLUME RENDER|\b3D\b|\bSSD\b|RENDERED", "3D picture"),
    (r"IODINE|IODIN\b|\bIOD\b|\bJOD|IODE\b|\bIMD\b|WATER\b|MAT(ERIAL)? ?(DENS|DECOMP|BASIS)|\bMD[_ ]|Z ?EFF"
     r"|EFFECTIVE Z|EFF_?Z|ELECTRON DENSITY|\bRHO\b|URIC ACID|CALCIUM SUPP|\bFAT MAP|OVERLAY|_MAP\b|\bMAP\b|HAP\b.*MAP"
     , "material map"),
    (r"VIRTUAL ?(NON|UN)|\bVNC\b|\bVUE\b|\bVNCA\b", "virtual unenhanced"),
    (r"MONO ?(E\b|ENERG|CHROM)|\d+ ?KEV\b|VMI\b|\bQC ", "virtual monoenergetic"),
    (r"PERFUSION|\bCBF\b|\bCBV\b|\bMTT\b|\bTTP\b|\bTMAX\b|BLOOD (FLOW|VOLUME)|PERMEAB|\b4D\b|TIME ?SERIES",
     "perfusion"),
    (r"SUBTRACT|\bDSA\b", "subtraction"),
    (r"REFORMAT|\bMPR\b|\bCPR\b|CORONAL|SAGITTAL|\bCOR\b|\bSAG\b|CURVED|OBLIQUE", "reformat"),
    (r"SEGMENTATION|\bRESULTS?\b|\bCAD\b|FUSION|FUSED", "result of another program"),
)  # fmt: skip
_SHARP_WORDS = r"\bLUNGS?\b|PULMO|\bBONES?\b|KNOCHEN|\bOSSEUS|\bSHARP|\bEDGE\b|HRCT|\bHR\b"
_OTHER_PARTS = (
    r"HEAD|BRAIN|SKULL|SINUS|NECK|HALS|CRAN|CEREB|KOPF|SPINE|\bWS\b|KNEE|ANKLE|FOOT|HAND|WRIST|ELBOW|SHOULDER|EXTREM"
    r"|CAROTID|TEMPORAL BONE|DENTAL"
)
_CHEST = r"CHEST|THORAX|THX|CARDIAC|HEART|CORONARY|PULMONARY|\bPE\b"
_ABDOMEN = r"ABD|LIVER|LEBER|HEPAT|FOIE|CAP\b|PELVI|PORTAL|PANCREA|TRUNK|TORSO|WHOLE ?BODY"
_PHASES = (
    (r"PORT(AL|O)?|\bPV\b|\bPVP\b|\bVEN(OUS|OES|EUX)?\b|VENOUS|\bHEPATIC PHASE|\b(60|65|70|75|80) ?S(EC)?\b",
     "portal venous", 0),
    (r"DELAY|LATE(?! ART)|EQUILIB|\bSPAET|\b(120|150|180|240|300) ?S(EC)?\b", "delayed", 2),
    (r"ARTERI|\bART\b|\bHAP\b|\b(25|30|35|40|45) ?S(EC)?\b", "arterial", 3),
    (r"NATIV|NON ?-?CON|UNENH|WITHOUT|\bW/?O\b|PLAIN|\bPRE\b|\bNC\b|SANS|PRE ?-?CONTRAST", "unenhanced", 4),
)  # fmt: skip
_UNKNOWN_PHASE = 1
# Extent in mm that contains a liver, along the patient and across: a larger scan is not more suitable.
_ENOUGH_MM, _ENOUGH_ACROSS_MM, _SHARE = 220.0, 300.0, 0.8
_AXIAL = 0.8


class Verdict(NamedTuple):
    """How suitable a scan is.

    Attributes:
        order: sort key, the most suitable first.
        kind: its type, such as "MIP"; empty for an original scan.
        words: its description in messages: type, plane and phase.
    """

    order: Tuple[float, ...]
    kind: str
    words: str


class Facts(NamedTuple):
    """Properties of a scan that are used in the comparison."""

    kind: str
    tier: int
    part: int
    extent: float
    across: float
    step: float
    repeated: bool
    sharp: bool
    phase: str
    phase_order: int


def judge(stacks: Sequence[Sequence[Slice]]) -> List[Verdict]:
    """How suitable each of several stacks of slices is for liver segmentation.

    Original primary axial scans come first, then those with one slice per position, of the abdomen, with a larger
    coverage (up to the extent of a liver), a wide field of view, slices up to 5 mm apart, a soft kernel, a
    portal venous phase.
    """
    facts = [_facts(stack) for stack in stacks]
    verdicts = []
    for one, stack in zip(facts, stacks):
        rivals = [other for other in facts if (other.tier, other.part) == (one.tier, one.part)]
        reach = min(_ENOUGH_MM, max(other.extent for other in rivals))
        across = min(_ENOUGH_ACROSS_MM, max(other.across for other in rivals))
        short = 0.0 if one.extent >= _SHARE * reach else 1 - one.extent / reach
        coarse = 0 if one.step <= 5.5 else 1 if one.step <= 10 else 2
        order = (
            float(one.tier), float(one.repeated), float(one.part), short, float(one.across < _SHARE * across),
            float(coarse), float(one.sharp), float(one.phase_order), -round(one.extent), one.step, -float(len(stack)),
        )  # fmt: skip
        words = ", ".join(word for word in (one.kind, "sharp kernel" if one.sharp else "", one.phase) if word)
        verdicts.append(Verdict(order, one.kind, words))
    return verdicts


def _facts(stack: Sequence[Slice]) -> Facts:
    header = stack[0].header
    fields = header.fields
    frame_kind = "\\".join(stack[0].fields.group[1:2])
    image_type = fields["image_type"].upper() or frame_kind.upper()
    said = f"{header.description.upper()} {fields['body_part'].upper()}".replace("_", " ")
    heights = np.sort(heights_of(stack))
    gaps = np.diff(heights)
    kind, tier = _kind(image_type, frame_kind.upper(), said, fields, stack)
    phase, phase_order = next(
        ((name, order) for pattern, name, order in _PHASES if re.search(pattern, said)), ("", _UNKNOWN_PHASE)
    )
    part = 0
    if not re.search(_ABDOMEN, said):
        part = 2 if re.search(_OTHER_PARTS, said) else 1 if re.search(_CHEST, said) else 0
    return Facts(
        kind, tier, part, float(heights[-1] - heights[0]),
        min(header.numbers[side] * mm for side, mm in zip(("rows", "columns"), stack[0].fields.pixel_spacing)),
        float(np.median(gaps)) if gaps.size else 1e3,
        bool(gaps.size and (gaps <= SAME_PLACE_MM).any()),
        _is_sharp(fields["kernel"].upper() or "".join(stack[0].fields.group[2:3]).upper(), said),
        phase, phase_order,
    )  # fmt: skip


def _kind(
    image_type: str, frame_kind: str, said: str, fields: Dict[str, str], stack: Sequence[Slice]
) -> Tuple[str, int]:
    """The type of a series that is not an original axial scan, and how far it is from one."""
    parts = [part.strip() for part in image_type.split("\\")]
    words = " ".join(part.replace("_", " ") for part in [*parts[2:], *frame_kind.split("\\")[2:]])
    found = _word(words) or _word(said)
    row, column = np.asarray(stack[0].fields.orientation).reshape(2, 3)
    axial = abs(float(np.cross(row, column)[2])) >= _AXIAL
    quantity = fields["rescale_type"].upper()
    if fields["sop_class"].startswith("1.2.840.10008.5.1.4.1.1.7"):
        return "screenshot", 5
    if found in ("localizer", "bolus tracking", "dose report", "screenshot", "3D picture"):
        return found, 5
    if found and found != "reformat" and not (found == "virtual monoenergetic" and axial):
        return found, 4
    if quantity not in ("", "HU", "US", "H.U.", "HOUNSFIELD"):
        return "material map", 4
    if not axial:
        return "reformat", 3
    if found:
        return found, 2
    derived, secondary = parts[:1] == ["DERIVED"], parts[1:2] == ["SECONDARY"]
    if len(stack) < 3:
        return "", 2
    return ("derived", 1 + int(derived and secondary)) if derived or secondary else ("", 0)


def _word(text: str) -> str:
    return next((name for pattern, name in _DERIVED if re.search(pattern, text)), "")


def _is_sharp(kernel: str, said: str) -> bool:
    """Whether the kernel is one for lung or bone, by its vendor's naming, or by the description."""
    name = kernel.split("\\")[0].strip()
    siemens = re.match(r"[A-Z]{1,2}V?(\d{2})", name)
    canon = re.match(r"FC(\d{2})", name)
    if canon:
        return int(canon.group(1)) >= 30
    if siemens:
        return int(siemens.group(1)) >= 55
    if name in ("BONE", "BONEPLUS", "LUNG", "EDGE", "ULTRA", "D", "L", "E", "YC", "YD", "DETAIL+"):
        return True
    return not name and bool(re.search(_SHARP_WORDS, said))
