"""Faults of images, drawn motion and edits for mutations.py."""

from mutations import Mutation

_IMAGES = "tests/conformance/test_images.py"
_LOOP = f"{_IMAGES}::test_guidance_with_an_image_equals_a_hand_written_loop"
_SAMPLE = f"{_IMAGES}::test_frames_that_are_given_are_of_the_sample"
_FIRST = f"{_IMAGES}::test_the_first_frame_of_a_clip_is_what_the_pipeline_makes_of_it"
_TRAJECTORY = "tests/motion/test_trajectory.py"
_GIVEN = "tests/sampling/test_given_motion.py"

MUTATIONS = (
    Mutation(
        "the last image is not given", "joint/image.py",
        'return {"image": self.first} | ({} if self.last is None else {"last_image": self.last})',
        'return {"image": self.first}', _LOOP + "[Wan2.1-FLF2V-True-0.0]",
    ),
    Mutation(
        "two images' embeddings are one's", "joint/inputs.py",
        "own[name] = found[name] if len(found[name]) > 1 else found[name][0]",
        "own[name] = found[name][0]", _SAMPLE + "[Wan2.1-FLF2V]",
    ),
    Mutation(
        "embeddings of two images go once into a batch of branches", "guidance/batches.py",
        "isinstance(value, Tensor) and name in several", "False",
        _LOOP + "[Wan2.1-FLF2V-True-0.0]",
    ),
    Mutation(
        "LTX looks at no image", "joint/first_frames.py",
        "return torch.cat([first, latents[:, first.shape[1] :]], 1), mask",
        "return latents, mask", _FIRST + "[LTX-Video]",
    ),
    Mutation(
        "LTX-2 sees its image uncompressed", "joint/first_frames.py",
        "begin = ltx(pipe, stock, still, compressed)", "begin = ltx(pipe, stock, still)",
        _FIRST + "[LTX-2]",
    ),
    Mutation(
        "the times of LTX-2's text and sound are those of tokens", "joint/denoiser.py",
        "arguments |= dict.fromkeys(self.family.sample_times, level.time)", "pass",
        f"{_IMAGES} -k clean_at_time_zero",
    ),
    Mutation(
        "HunyuanVideo 1.5 makes a wide clip high", "joint/image.py",
        "lambda *_, **__: (height, width)", "lambda *_, **__: (width, height)",
        f"{_IMAGES} -k whatever_the_shape",
    ),
    Mutation(
        "a mark of a row says nothing of its value", "joint/family.py",
        "found is not None and (not value or found == value)", "found is not None",
        "tests/joint/test_families.py -k marks",
    ),
    Mutation(
        "every prompt of a comparison begins with the first image", "evaluation/clips/generate.py",
        "given[argument] = [files[name]]", "given[argument] = [samples[0].files[name]]",
        "tests/evaluation/compare/test_compare_images.py -k own_image",
    ),
    Mutation(
        "a comparison goes on with an image that changed", "evaluation/clips/generate.py",
        "sample.decided_by | made_from",
        '{"prompt": sample.prompt, "seed": sample.seed, **made_from}',
        "tests/evaluation/compare/test_compare_images.py -k own_image",
    ),
    Mutation(
        "the motion half of LTX's image is its appearance", "joint/first_frames.py",
        "motion = TOKENS.pack(still(*size)).to(first)", "motion = first",
        _LOOP + "[LTX-Video-False-0.0]",
    ),
    Mutation(
        "tokens of a given frame are told the time of the others", "joint/denoiser.py",
        "return time.masked_fill(given.to(time.device)[:, None] & first, 0)", "return time",
        f"{_IMAGES} -k clean_at_time_zero",
    ),
    Mutation(
        "HunyuanVideo's noise has no trace of still motion, all of it is", "joint/first_frames.py",
        "_NOISE_AT_FIRST = 0.999", "_NOISE_AT_FIRST = 0.5",
        "tests/joint/test_first_frames.py",
    ),
    Mutation(
        "a dropped text keeps its image", "training/step.py",
        "images = None\n", "pass\n", f"{_IMAGES} -k takes_the_image_out",
    ),
    Mutation(
        "the null text is made as a prompt's", "joint/inputs.py",
        "dict(family.null_arguments) if not any(prompts) else {}", "{}",
        f"{_IMAGES} -k read_with_its_image",
    ),
    Mutation(
        "an edit of motion half the steps later", "sampling/editing.py",
        "max(1, round(strength * num_inference_steps))",
        "max(1, round(strength * num_inference_steps / 2))", f"{_GIVEN} -k edit",
    ),
    Mutation(
        "an edit's windows are those of what is left", "sampling/generate.py",
        "remaining(sampling, step) if step else sampling", "sampling", f"{_GIVEN} -k edit",
    ),
    Mutation(
        "an edit moves as the model wants", "sampling/generate.py",
        "around.enter_context(given_motion(pipe, d, _noise_d(d, batch)))", "pass",
        f"{_GIVEN} -k edit",
    ),
    Mutation(
        "the picture goes where the camera goes", "motion/trajectory.py",
        "right - sin * down - pan_x", "right - sin * down + pan_x", _TRAJECTORY,
    ),
    Mutation(
        "a camera that rolls clockwise turns the picture clockwise", "motion/trajectory.py",
        "-math.radians(camera.roll)", "math.radians(camera.roll)", _TRAJECTORY,
    ),
    Mutation(
        "the whole zoom in every step", "motion/trajectory.py",
        "camera.zoom ** (1 / steps)", "camera.zoom", _TRAJECTORY,
    ),
    Mutation(
        "points of a path are those of frames", "motion/trajectory.py",
        "np.linspace(0, len(points) - 1, num_frames)", "np.arange(num_frames)", _TRAJECTORY,
    ),
    Mutation(
        "a disc of its diameter", "motion/trajectory.py",
        "<= drag.radius * height", "<= 2 * drag.radius * height", _TRAJECTORY,
    ),
)  # fmt: skip
