"""Faults of control clips for mutations.py."""

from mutations import Mutation

_SAMPLED = "tests/conformance/test_controls.py"
_TRAINED = "tests/conformance/test_control_training.py"
_FILES = "tests/data/prepare/test_control_files.py"
_CLIP = "tests/workflow/test_control_clip.py"
_EDITORS = "tests/conformance/test_editors.py"

MUTATIONS = (
    Mutation(
        "a mask is white where it is dark", "joint/control.py",
        "frames.float().mean(-1) > 127.5", "frames.float().mean(-1) < 127.5",
        f"{_SAMPLED} -k mask",
    ),
    Mutation(
        "a mask is not given", "joint/control.py",
        "if self.mask is not None:", "if False:", f"{_SAMPLED} -k what_sampling_gives",
    ),
    Mutation(
        "a mask is scaled as the control, not cut with it", "sampling/controls.py",
        "mask = _cut(mask.to(torch.uint8) * 255, *size) > 127",
        "mask = torch.nn.functional.interpolate(mask[None].float(), size)[0] > 0.5",
        f"{_SAMPLED} -k cut_about",
    ),
    Mutation(
        "no control is zeros", "joint/denoiser.py",
        "return {name: found[name][0] for name in self.family.control_inputs}",
        "return {name: found[name][0] * 0 for name in self.family.control_inputs}",
        f"{_SAMPLED} -k none",
    ),
    Mutation(
        "controls are never dropped", "training/step.py",
        ") < control_dropout(objective, denoiser.family)", ") < 0.0", f"{_TRAINED} -k drops_it",
    ),
    Mutation(
        "controls are dropped as images are", "training/step.py",
        "zip(images, no_control if controls else no_image, strict=True)",
        "zip(images, no_image, strict=True)", f"{_TRAINED} -k drops_it",
    ),
    Mutation(
        "a control may be late by a whole frame", "data/source/in_step.py",
        "_FAR = 0.25", "_FAR = 1.25", f"{_FILES} -k by_their_times",
    ),
    Mutation(
        "a control of more frames is in step", "data/source/in_step.py",
        "if len(its) != len(ours):", "if len(its) < len(ours):", f"{_FILES} -k by_their_times",
    ),
    Mutation(
        "a control's first frames, whatever the clip's", "data/source/in_step.py",
        "return [its[places[number]] for number in pts]",
        "return [its[place] for place in range(len(pts))]", f"{_FILES} -k same_cut",
    ),
    Mutation(
        "a control is followed at its own rate", "workflow/control_clip.py",
        "fps=fps, num_frames=size.num_frames", "fps=2 * fps, num_frames=size.num_frames",
        f"{_CLIP} -k by_their_times",
    ),
    Mutation(
        "a control ends at its first cut", "workflow/control_clip.py",
        "[(0, len(found.pts) - 1)]", "[(0, len(found.pts) // 2)]", f"{_CLIP} -k cuts",
    ),
    Mutation(
        "an image for a mask is not one", "workflow/control_clip.py",
        "_still(mask, size) or _frames(mask, size, fps)", "_frames(mask, size, fps)",
        f"{_CLIP} -k mask",
    ),
    Mutation(
        "every prompt has the first one's control", "sampling/generate.py",
        "fitted_control(controls[number], sampling)\n            d = None",
        "fitted_control(controls[0], sampling)\n            d = None",
        f"{_SAMPLED} -k own_control",
    ),
    Mutation(
        "the base follows no control", "sampling/generate.py",
        "fitted_control(controls[number], sampling)\n        with texts",
        "None\n        with texts",
        f"{_SAMPLED} -k own_control",
    ),
    Mutation(
        "an editor's noise is the same in both halves", "joint/first_frames.py",
        "return torch.cat([x, d.to(x)], 1), condition", "return torch.cat([x, x], 1), condition",
        f"{_EDITORS} -k loop",
    ),
    Mutation(
        "an editor's clip is dropped in a tenth of the steps", "training/step.py",
        "return 0.0 if family.control_always else 0.1", "return 0.1", f"{_EDITORS} -k idle",
    ),
    Mutation(
        "a video without a clip to edit is prepared", "data/prepare/prepare.py",
        "entries = [one for one in entries if one.control]", "pass", f"{_EDITORS} -k dropped",
    ),
    Mutation(
        "an editor goes without a clip", "sampling/controls.py",
        "if family.control_always and family.control_arguments[0] not in sampling.pipeline:",
        "if False:", f"{_EDITORS} -k mask",
    ),
    Mutation(
        "an editor's samples hold the clip twice", "joint/inputs.py",
        "return {CHANNELS: hidden[0, C:]} if", "return {CHANNELS: hidden[0, :C]} if",
        f"{_EDITORS} -k latents_of_its_clip",
    ),
)  # fmt: skip
