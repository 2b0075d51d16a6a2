"""The study's own way, with the libraries that it used (they are the product's too): one poster at a time."""

from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]


def embed(options: Options) -> Callable[[], Any]:
    """Four threads decode, the model gets one poster a call of ``predict``, pandas writes ``csv.gz``."""
    import pandas as pd
    import tensorflow as tf
    import tensorflow_hub as hub
    import tf_keras

    layer = hub.KerasLayer(options["model"], trainable=False)
    model = tf_keras.Sequential([layer])
    model.build([None, 224, 224, 3])
    posters = options["posters"]

    def read(path: str) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return Path(path).name, tf.image.resize(image, (224, 224)) / 255.0

    def once() -> Any:
        names, vectors = [], []
        with ThreadPool(4) as pool:
            for name, image in pool.imap(read, posters):
                names.append(name)
                vectors.append(model.predict(image[None], verbose=0)[0])
        frame = pd.DataFrame(np.stack(vectors))
        frame.insert(0, "ImgName", names)
        frame.to_csv(options["out"], index=False, compression="gzip")
        return {"images": len(names)}

    model.predict(read(posters[0])[1][None], verbose=0)
    return once


def ingest(options: Options) -> Callable[[], Any]:
    """The study's notebook: read, order, drop duplicates, list the folder, join, split the genres, keep four."""
    import os

    import pandas as pd

    def once() -> Any:
        movies = pd.read_csv(options["metadata"], encoding="utf-8")
        movies["imdbId"] = movies["imdbId"].astype("int32")
        movies = movies.sort_values("imdbId").drop_duplicates(keep="first")
        images = pd.DataFrame({"ImgName": sorted(os.listdir(options["images"]))})
        images["ImgId"] = images["ImgName"].str.split(".").str[0].astype("int32")
        joined = movies.merge(images, left_on="imdbId", right_on="ImgId", how="inner")
        joined.columns = joined.columns.str.replace(" ", "")
        genres = joined["Genre"].str.split("|", expand=True)
        for place in range(3):
            joined[f"Genre{place + 1}"] = genres[place]
        short = joined["Genre1"] == "Short"
        joined.loc[short, "Genre1"] = joined.loc[short, "Genre2"]
        top = joined["Genre1"].value_counts().index[:4]
        labeled = joined[joined["Genre1"].isin(top)]
        names = ["ImgId", "ImgName", "Title", "Genre1", "Genre2", "Genre3", "IMDBScore", "ImdbLink", "Poster"]
        labeled[names].sort_values("ImgId").to_csv(options["out"], index=False)
        return [len(movies), len(joined), len(labeled)]

    return once
