"""SequenceExample by protobuf, an independent reader of TensorFlow's records."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def schema() -> Any:
    """tensorflow/core/example/{feature,example}.proto, as far as a SequenceExample goes."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, str, bool], into: Any = None) -> Any:
        made = (into or file.message_type if into is None else into).add(name=name)
        for field, number, kind, repeated in fields:
            one = made.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in ("bytes", "float", "int64", "string"):
                one.type = {"bytes": 12, "float": 2, "int64": 3, "string": 9}[kind]
            else:
                one.type, one.type_name = 11, f".t.{kind}"
        return made

    message("BytesList", ("value", 1, "bytes", True))
    message("FloatList", ("value", 1, "float", True))
    message("Int64List", ("value", 1, "int64", True))
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("Bytes", "Float", "Int64"), 1):
        name = f"{kind.lower()}_list"
        feature.field.add(
            name=name, number=number, label=1, type=11, type_name=f".t.{kind}List", oneof_index=0
        )
    message("FeatureList", ("feature", 1, "Feature", True))
    for name, field, value in (
        ("Features", "feature", "Feature"),
        ("FeatureLists", "feature_list", "FeatureList"),
    ):
        entry = f"{''.join(part.title() for part in field.split('_'))}Entry"
        made = message(name, (field, 1, f"{name}.{entry}", True))
        inner = message(entry, ("key", 1, "string", False), ("value", 2, value, False), into=made.nested_type)
        inner.options.map_entry = True
    message("SequenceExample", ("context", 1, "Features", False), ("feature_lists", 2, "FeatureLists", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.SequenceExample"))


SequenceExample = schema()
