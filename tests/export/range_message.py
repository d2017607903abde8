"""The range file as protobuf reads it: the messages of TIDL's specification, docs/tidl_quantParams.md."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

FIELD = descriptor_pb2.FieldDescriptorProto
MESSAGES: dict[str, list[tuple[str, int, int, bool, str]]] = {
    "Net": [
        ("num_layers", 1, FIELD.TYPE_INT32, False, ""),
        ("quant_type", 2, FIELD.TYPE_ENUM, False, ".tidl.QuantType"),
        ("calib_type", 3, FIELD.TYPE_ENUM, False, ".tidl.CalibType"),
        ("layers", 4, FIELD.TYPE_MESSAGE, True, ".tidl.Layer"),
    ],
    "Layer": [
        ("layer_name", 1, FIELD.TYPE_STRING, False, ""),
        ("layer_type", 2, FIELD.TYPE_STRING, False, ""),
        ("bit_depth", 3, FIELD.TYPE_UINT32, False, ""),
        *(
            (name, number, FIELD.TYPE_MESSAGE, True, ".tidl.Tensor")
            for number, name in enumerate(("outputs", "weights", "bias", "slope"), start=4)
        ),
    ],
    "Tensor": [
        ("min", 1, FIELD.TYPE_FLOAT, False, ""),
        ("max", 2, FIELD.TYPE_FLOAT, False, ""),
        ("size", 3, FIELD.TYPE_UINT32, False, ""),
        ("element_type", 4, FIELD.TYPE_UINT32, False, ""),
        ("scale", 5, FIELD.TYPE_DOUBLE, True, ""),
        ("zero_point", 6, FIELD.TYPE_UINT32, True, ""),
        ("value", 7, FIELD.TYPE_DOUBLE, True, ""),
    ],
}
ENUMS = {"QuantType": ["SYMMETRIC", "ASYMMETRIC"], "CalibType": ["PERTENSOR", "PERCHANNEL"]}


def parse(text: str) -> Any:
    """Raises text_format.ParseError for what is not in the grammar, or not in the specification."""
    return text_format.Parse(text, _net()())


def _net() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="tidl.proto", package="tidl", syntax="proto2")
    for name, words in ENUMS.items():
        kind = file.enum_type.add(name=name)
        for number, word in enumerate(words, start=1):
            kind.value.add(name=word, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated, type_name in fields:
            label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tidl.Net"))
