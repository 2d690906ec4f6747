"""Commands that are stages of the pipeline, but for the study."""

from __future__ import annotations

from seedbed.cli.common import PARAMS, MethodName, ParamsFile, app, load


@app.command("train-saliency")
def train_saliency(params: ParamsFile = PARAMS) -> None:
    """Train the saliency network on data.saliency_train. A killed run continues where it stopped.

    Example: `seedbed train-saliency`
    """
    from seedbed.stages.saliency import train

    train(load(params))


@app.command("evaluate-saliency")
def evaluate_saliency(params: ParamsFile = PARAMS) -> None:
    """Score the saliency source on each of data.saliency_test: MAE, F, S and E measures.

    Example: `seedbed evaluate-saliency`
    """
    from seedbed.stages.saliency import evaluate

    evaluate(load(params))


@app.command("predict-saliency")
def predict_saliency(params: ParamsFile = PARAMS) -> None:
    """Write the saliency map of every training and validation image to maps/saliency/.

    Example: `seedbed predict-saliency`
    """
    from seedbed.stages.saliency import predict

    predict(load(params))


@app.command("train-localiser")
def train_localiser(method: MethodName, params: ParamsFile = PARAMS) -> None:
    """Train the localiser of a method from image labels. A killed run continues where it stopped.

    Example: `seedbed train-localiser --method eps`
    """
    from seedbed.stages.localise import train

    train(load(params), method)


@app.command("seeds")
def seeds(method: MethodName, params: ParamsFile = PARAMS) -> None:
    """Compute multi-scale class maps of every training image into maps/seeds/METHOD/.

    Example: `seedbed seeds --method eps`
    """
    from seedbed.stages.localise import seeds as run

    run(load(params), method)


@app.command("pseudo")
def pseudo(method: MethodName, params: ParamsFile = PARAMS) -> None:
    """Fuse class maps and saliency into pseudo-labels, and score them where masks exist.

    Example: `seedbed pseudo --method eps`
    """
    from seedbed.stages.pseudo import pseudo as run

    run(load(params), method)


@app.command("train-segmenter")
def train_segmenter(method: MethodName, params: ParamsFile = PARAMS) -> None:
    """Train DeepLab on the pseudo-labels of a method. A killed run continues where it stopped.

    Example: `seedbed train-segmenter --method eps`
    """
    from seedbed.stages.segment import train

    train(load(params), method)


@app.command("evaluate-segmenter")
def evaluate_segmenter(method: MethodName, params: ParamsFile = PARAMS) -> None:
    """Predict the validation images and score them: mIoU with a 95 % interval.

    Example: `seedbed evaluate-segmenter --method eps`
    """
    from seedbed.stages.segment import evaluate

    evaluate(load(params), method)


@app.command("compare")
def compare(params: ParamsFile = PARAMS) -> None:
    """Write the comparison page reports/index.html and its machine-readable twin reports/compare.json.

    Example: `seedbed compare`
    """
    from seedbed.stages.compare import compare as run

    run(load(params))
