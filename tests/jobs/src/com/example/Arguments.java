package com.example;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** Arguments of the form {@code --name value} or {@code --name}; Flink's own parser moved between versions. */
final class Arguments {
    private final Map<String, String> values = new HashMap<>();

    Arguments(String[] words) {
        for (int i = 0; i < words.length; i++) {
            if (!words[i].startsWith("--")) {
                throw new IllegalArgumentException("expected --name, not " + words[i]);
            }
            boolean hasValue = i + 1 < words.length && !words[i + 1].startsWith("--");
            values.put(words[i].substring(2), hasValue ? words[++i] : "");
        }
    }

    boolean has(String name) {
        return values.containsKey(name);
    }

    String text(String name, String fallback) {
        return values.getOrDefault(name, fallback);
    }

    long number(String name, long fallback) {
        return has(name) ? Long.parseLong(values.get(name)) : fallback;
    }

    /** The label that was built into this jar. */
    static String builtVersion() throws IOException {
        try (InputStream file = Arguments.class.getResourceAsStream("/version.txt")) {
            return new String(file.readAllBytes(), StandardCharsets.UTF_8).trim();
        }
    }
}
