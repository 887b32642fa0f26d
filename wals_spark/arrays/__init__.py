"""NumPy and Arrow arrays: conversion, dictionary encoding, sorting, batching; the settings of the process that holds them."""
