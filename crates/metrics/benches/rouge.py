"""Scores a JSON file of pairs by ROUGE-L; prints seconds and the sum of F1. Started by rouge.rs."""
import json, sys, time

from rouge_score import rouge_scorer

pairs = json.load(open(sys.argv[1], encoding="utf-8"))
scorer = rouge_scorer.RougeScorer(["rougeL"])
start = time.perf_counter()
total = sum(scorer.score(reference, prediction)["rougeL"].fmeasure for reference, prediction in pairs)
print(time.perf_counter() - start, repr(total))
