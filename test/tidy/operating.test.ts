import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { root } from "../run/process.ts";
import { allSettings } from "./documents.ts";

const text = (path: string) => readFileSync(join(root, path), "utf8");

const BASE = "k8s/base";
const Kustomization = z.object({
  resources: z.array(z.string()),
  configMapGenerator: z.array(z.object({ name: z.string(), literals: z.array(z.string()) })),
});
const kustomization = Kustomization.parse(parse(text(`${BASE}/kustomization.yaml`)));

const Port = z.object({ name: z.string(), containerPort: z.int() });
const Probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) });
const Deployment = z.object({
  kind: z.literal("Deployment"),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    selector: z.object({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.object({
      metadata: z.object({ labels: z.record(z.string(), z.string()) }),
      spec: z.object({
        containers: z.tuple([
          z.object({
            image: z.string(),
            command: z.tuple([z.literal("node"), z.string()], z.string()),
            envFrom: z.array(z.object({ configMapRef: z.object({ name: z.string() }) })),
            ports: z.array(Port),
            livenessProbe: Probe,
            readinessProbe: Probe,
          }),
        ]),
      }),
    }),
  }),
});
const Service = z.object({
  kind: z.literal("Service"),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    selector: z.record(z.string(), z.string()),
    ports: z.array(z.object({ targetPort: z.string() })),
  }),
});
const objects = kustomization.resources.flatMap((file) =>
  parseAllDocuments(text(`${BASE}/${file}`)).map((document) =>
    z.union([Deployment, Service]).parse(document.toJS()),
  ),
);
const deployments = objects.filter((object) => object.kind === "Deployment");
const services = objects.filter((object) => object.kind === "Service");

describe("k8s/base", () => {
  it.each(deployments.map((it) => [it.metadata.name, it] as const))(
    "%s runs an entry file that exists",
    (_, it) => {
      const [container] = it.spec.template.spec.containers;
      expect(existsSync(join(root, container.command[1])), container.command[1]).toBe(true);
    },
  );

  it.each(deployments.map((it) => [it.metadata.name, it] as const))(
    "%s selects itself and probes its ports",
    (_, it) => {
      const { selector, template } = it.spec;
      const [{ ports, livenessProbe, readinessProbe, envFrom }] = template.spec.containers;
      expect(template.metadata.labels).toMatchObject(selector.matchLabels);
      const names = ports.map(({ name }) => name);
      expect(names).toContain(livenessProbe.httpGet.port);
      expect(names).toContain(readinessProbe.httpGet.port);
      const maps = kustomization.configMapGenerator.map(({ name }) => name);
      for (const { configMapRef } of envFrom) expect(maps).toContain(configMapRef.name);
    },
  );

  it.each(services.map((it) => [it.metadata.name, it] as const))(
    "service %s reaches a deployment",
    (_, it) => {
      const target = deployments.find(({ spec }) =>
        Object.entries(it.spec.selector).every(
          ([key, value]) => spec.template.metadata.labels[key] === value,
        ),
      );
      const ports = target?.spec.template.spec.containers[0].ports.map(({ name }) => name) ?? [];
      for (const { targetPort } of it.spec.ports) expect(ports).toContain(targetPort);
    },
  );

  it("sets only variables that a role reads", async () => {
    const settings = await allSettings();
    const known = settings.flatMap(({ definition }) => Object.values(definition).map(({ env }) => env));
    const set = kustomization.configMapGenerator.flatMap(({ literals }) =>
      literals.map((it) => it.slice(0, it.indexOf("="))),
    );
    expect(set.filter((name) => !known.includes(name))).toEqual([]);
  });
});

describe("skaffold.yaml", () => {
  const Skaffold = z.object({
    build: z.object({
      artifacts: z.array(z.object({ image: z.string(), docker: z.object({ dockerfile: z.string() }) })),
    }),
    manifests: z.object({ kustomize: z.object({ paths: z.array(z.string()) }) }),
    portForward: z.array(z.object({ resourceName: z.string() })),
  });
  const skaffold = Skaffold.parse(parse(text("skaffold.yaml")));

  it("builds the image that the manifests run, and no other", () => {
    const images = deployments.map(({ spec }) => spec.template.spec.containers[0].image);
    expect([...new Set(images)]).toEqual(skaffold.build.artifacts.map(({ image }) => image));
    for (const { docker } of skaffold.build.artifacts)
      expect(existsSync(join(root, docker.dockerfile))).toBe(true);
    expect(skaffold.manifests.kustomize.paths).toEqual([BASE]);
    expect(services.map(({ metadata }) => metadata.name)).toContain(skaffold.portForward[0]?.resourceName);
  });
});

describe("Dockerfile", () => {
  const lines = text("Dockerfile").split("\n");
  const copied = lines.flatMap((line) => /^COPY (?!--from)(.+) \S+$/.exec(line)?.[1]?.split(" ") ?? []);
  const sent = text(".dockerignore")
    .split("\n")
    .flatMap((line) => (line.startsWith("!") ? [line.slice(1)] : []));

  it("stands on the major version of Node that the project pins", () => {
    const [major] = text(".nvmrc").split(".");
    expect(lines).toContain(`ARG NODE_IMAGE=node:${major}-slim`);
  });

  it("copies exactly what is sent to the build, and all of it exists", () => {
    expect([...new Set(copied)].toSorted()).toEqual(sent.toSorted());
    for (const path of sent) expect(existsSync(join(root, path)), path).toBe(true);
  });

  it("starts an entry file that exists", () => {
    const command = z
      .array(z.string())
      .parse(JSON.parse(/^CMD (.+)$/m.exec(text("Dockerfile"))?.[1] ?? "[]"));
    expect(command[0]).toBe("node");
    expect(existsSync(join(root, command[1] ?? ""))).toBe(true);
  });
});
