"""On a Spark cluster of two executors: reads the folders that pull wrote, and writes folders for load. Usage: FOLDER"""

import os
import sys

folder = sys.argv[1]
quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # the program is over before more would pay
os.environ |= {
    "SPARK_LOCAL_IP": "127.0.0.1",
    "SPARK_LOCAL_HOSTNAME": "localhost",
    "SPARK_LOCAL_DIRS": f"{folder}/.spark",
    "SPARK_WORKER_DIR": f"{folder}/.spark",
    "PYSPARK_SUBMIT_ARGS": f"--driver-java-options '{quick}' pyspark-shell",
}

from pyspark.sql import SparkSession  # it reads the environment

spark = (
    SparkSession.builder.master("local-cluster[2,1,512]")
    .config("spark.executor.memory", "512m")
    .config("spark.executor.extraJavaOptions", quick)
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "4")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

SCHEMA = "id INT, said STRING, fare DECIMAL(10,2), at TIMESTAMP, year INT, zone STRING"
text = {"header": True, "escape": '"', "multiLine": True}
found = {
    "parquet": spark.read.parquet(f"{folder}/pulled-parquet"),
    "csv": spark.read.options(**text).schema(SCHEMA).csv(f"{folder}/pulled-csv"),
    "ndjson": spark.read.schema(SCHEMA).json(f"{folder}/pulled-ndjson"),
}
wanted = None
for name, rows in found.items():
    assert rows.selectExpr(*(column.split()[0] for column in SCHEMA.split(", "))).schema.simpleString() == (
        "struct<id:int,said:string,fare:decimal(10,2),at:timestamp,year:int,zone:string>"
    ), (name, rows.schema)
    values = sorted(map(tuple, rows.select("id", "said", "fare", "at", "year", "zone").collect()), key=lambda row: row[0])
    wanted = wanted or values
    assert len(values) == 1000 and values == wanted, (name, len(values))
print(wanted[:4])

rows = found["parquet"].repartition(4)
exact = {"header": True, "escape": '"', "timestampFormat": "yyyy-MM-dd HH:mm:ss.SSSSSSXXX"}  # else milliseconds
rows.write.partitionBy("year", "zone").parquet(f"{folder}/spark-parquet")
rows.write.partitionBy("zone").options(**exact).csv(f"{folder}/spark-csv", compression="gzip")
rows.write.json(f"{folder}/spark-json")
spark.stop()
print("done")
