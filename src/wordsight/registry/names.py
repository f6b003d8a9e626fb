"""The names that a configuration may use -> "module:Class", and the base class of each kind of part.

Text only, so that nothing heavy loads here.
"""

REGISTRY: dict[str, dict[str, str]] = {
    "data": {  # in the order in which a path is recognized
        "precomp": "wordsight.read.datasets.precomputed:Precomp",
        "person-search": "wordsight.read.datasets.person_search:PersonSearch",
        "records": "wordsight.read.datasets.tfrecords:Records",
        "webdataset": "wordsight.read.datasets.webdataset:WebDataset",
        "karpathy": "wordsight.read.datasets.karpathy:Karpathy",
        "coco-captions": "wordsight.read.datasets.coco:Coco",
        "table": "wordsight.read.datasets.table:Table",
        "folder": "wordsight.read.datasets.folder:CaptionFolder",
        "world": "wordsight.read.synthetic.dataset:World",
    },
    "reader": {
        "precomputed": "wordsight.read.features.precomputed_reader:Precomputed",
        "pixels": "wordsight.read.pictures.pixel_reader:PixelReader",
        "flexible-pixels": "wordsight.read.pictures.flexible_pixels:FlexiblePixels",
        "model-pixels": "wordsight.read.pictures.preprocessor_config:model_pixels",
        "shaped-pixels": "wordsight.read.pictures.shaped_pixels:ShapedPixels",
        "backbone": "wordsight.read.pictures.backbone_reader:BackboneReader",
    },
    "tokenizer": {
        "words": "wordsight.read.text.word_tokenizer:Words",
        "wordpieces": "wordsight.read.text.wordpiece_tokenizer:WordPieces",
        "dual": "wordsight.read.text.clip_tokenizer:DualTokenizer",
        "multi-vector": "wordsight.read.text.multi_vector_tokenizer:MultiVectorTokenizer",
    },
    "image_encoder": {
        "regions": "wordsight.encode.regions:RegionEncoder",
        "grid-cnn": "wordsight.encode.cnn:GridCNN",
        "backbone": "wordsight.encode.backbone:BackboneEncoder",
        "dual": "wordsight.encode.dual_image:DualImageEncoder",
        "multi-vector": "wordsight.encode.multi_vector:MultiVectorImageEncoder",
    },
    "text_encoder": {
        "recurrent": "wordsight.encode.recurrent:RecurrentEncoder",
        "bert": "wordsight.encode.bert:BertEncoder",
        "dual": "wordsight.encode.dual_text:DualTextEncoder",
        "multi-vector": "wordsight.encode.multi_vector:MultiVectorTextEncoder",
    },
    "pool": {
        "mean": "wordsight.encode.pool:MeanPool",
        "max": "wordsight.encode.pool:MaxPool",
        "last": "wordsight.encode.pool:LastPool",
        "gpo": "wordsight.encode.pool:GPO",
    },
    "similarity": {
        "max-sim": "wordsight.similarity.max_sim:MaxSim",
        "cross-attention": "wordsight.similarity.cross_attention:CrossAttention",
        "bidirectional": "wordsight.similarity.bidirectional:BothWays",
        "label-agreement": "wordsight.similarity.label_agreement:Semantic",
        "cosine": "wordsight.similarity.cosine:Cosine",
        "order": "wordsight.similarity.order_embedding:Order",
        "dual": "wordsight.similarity.dual_encoder:Dual",
    },
    "pooling": {
        "mean": "wordsight.similarity.pooling:Mean",
        "max": "wordsight.similarity.pooling:Max",
        "sum": "wordsight.similarity.pooling:Sum",
        "softmax": "wordsight.similarity.pooling:Softmax",
        "log-sum-exp": "wordsight.similarity.pooling:LogSumExp",
    },
    "loss": {
        "triplet": "wordsight.learn.triplet:Triplet",
        "info-nce": "wordsight.learn.contrastive:InfoNCE",
        "consistency": "wordsight.learn.consistency:Consistency",
        "projection": "wordsight.learn.projection:Projection",
    },
    "engine": {
        "auto": "wordsight.search.engine.auto:Auto",
        "exact": "wordsight.search.engine.exact:Exact",
        "shortlist": "wordsight.search.engine.shortlist:Shortlist",
        "regions": "wordsight.search.engine.regions:Regions",
    },
}

BASES: dict[str, str] = {  # what a part of that kind is, or what a function of that kind returns
    "data": "wordsight.read.datasets.dataset:Dataset",
    "reader": "wordsight.read.base:Reader",
    "tokenizer": "wordsight.read.text.base:Tokenizer",
    "image_encoder": "wordsight.encode.base:ImageEncoder",
    "text_encoder": "wordsight.encode.base:TextEncoder",
    "pool": "wordsight.encode.pool:Pool",
    "similarity": "wordsight.similarity.base:Similarity",
    "pooling": "wordsight.similarity.pooling:Pooling",
    "loss": "wordsight.learn.loss:Loss",
    "engine": "wordsight.search.engine.engine:Engine",
}
