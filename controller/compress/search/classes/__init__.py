"""A search whose times come from devices: what it asks of them (`measurer`), of which candidates (`select`), and when
(`rounds`).

Decides: nothing here. Who carries measuring out is no part of this package: it is handed in as a `Measurer`.
"""
